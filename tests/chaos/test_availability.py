"""How long anything stands still: workers that come and go, Kafka that is away, processes that are told to end."""

import time

import psutil
import pytest

from tests.chaos.faults import ServerKill, Terminate
from tests.chaos.harness import System, put_load, sized, strike
from tests.chaos.oracles import exactness, readiness
from tests.chaos.probe import Probe
from tests.chaos.results import Finding, verdict
from tests.support.processes import get

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

LONGEST_PAUSE_S = 30.0
TAKE_OVER_S = 10.0
RED_WITHIN_S = 10.0
GROWTH_MIB = 150
EXIT_WITHIN_S = 30.0


def pauses(limit_s: float, longest: dict[str, float]) -> Finding:
    """Whether no partition stood still for longer, after whatever was done."""
    return Finding(
        expected={f"pauses over {limit_s:g} s": 0},
        found={f"pauses over {limit_s:g} s": sum(each > limit_s for each in longest.values())},
        measured="longest pause of a partition: " + ", ".join(f"{what} {pause_s:.1f} s" for what, pause_s in longest.items()),
    )


def test_membership(system: System) -> None:
    """A third worker joins, leaves in order, joins, is killed, and so on."""
    system.start(ingresses=1, workers=2)
    rounds, longest = sized(15, 3), {"join": 0.0, "leave": 0.0, "kill -9": 0.0}
    load = put_load(system, devices=sized(500, 50), messages=rounds * 24 * 200, rate=200)
    with Probe(system) as probe:
        system.run_for(5.0)
        probe.take()
        for number in range(rounds):
            system.add_worker(2)
            system.faults["joins"] += 1
            system.wait_ready()
            system.run_for(system.random.uniform(3, 6))
            longest["join"] = max(longest["join"], probe.take())
            leave = "kill -9" if number % 2 else "leave"
            if leave == "leave":
                Terminate(system)("worker-2")
            else:
                system["worker-2"].kill()
            system.forget("worker-2")
            system.faults["leaves" if leave == "leave" else "worker kill -9"] += 1
            system.run_for(12.0)
            longest[leave] = max(longest[leave], probe.take())
    strike(system, load, [])
    finding = exactness(system, load.ledger) + pauses(LONGEST_PAUSE_S, longest)
    verdict("membership", finding, load=str(load), faults=system.tell_faults())


def test_scale(system: System) -> None:
    """One worker, three, and one again."""
    system.start(ingresses=1, workers=1)
    rounds, longest = sized(8, 1), {"1 -> 3": 0.0, "3 -> 1": 0.0}
    load = put_load(system, devices=sized(500, 50), messages=rounds * 40 * 200, rate=200)
    with Probe(system) as probe:
        system.run_for(5.0)
        probe.take()
        for _ in range(rounds):
            for index in (1, 2):
                system.add_worker(index)
            system.wait_ready()
            system.run_for(8.0)
            system.faults["1 -> 3"] += 1
            longest["1 -> 3"] = max(longest["1 -> 3"], probe.take())
            Terminate(system)("worker-1", "worker-2")
            for index in (1, 2):
                system.forget(f"worker-{index}")
            system.run_for(12.0)
            system.faults["3 -> 1"] += 1
            longest["3 -> 1"] = max(longest["3 -> 1"], probe.take())
    strike(system, load, [])
    finding = exactness(system, load.ledger) + pauses(LONGEST_PAUSE_S, longest) + readiness(system)
    verdict("scale", finding, load=str(load), faults=system.tell_faults())


def test_take_over(system: System) -> None:
    """A worker is killed and stays away: whoever has the warm copies goes on with its partitions."""
    system.deployment.extra["EMS_STANDBY_REPLICAS"] = "1"
    system.start(ingresses=1, workers=3)
    rounds, each = sized(20, 3), list[float]()
    load = put_load(system, devices=sized(1000, 200), messages=rounds * 35 * 300, rate=300)
    with Probe(system) as probe:
        for _ in range(rounds):
            system.wait_ready()
            system.run_for(10.0)  # the copies have to become warm
            probe.take()
            victim = system.random.choice(_owners(system))
            system[victim].kill()
            system.forget(victim)
            system.faults["worker kill -9 with a standby"] += 1
            system.run_for(15.0)
            each.append(probe.take())
            system.add_worker(int(victim.removeprefix("worker-")))
    strike(system, load, [])
    finding = exactness(system, load.ledger) + pauses(TAKE_OVER_S, {"kill -9": max(each)})
    measured = "each " + ", ".join(f"{pause_s:.1f}" for pause_s in each) + " s"
    verdict("take-over", finding + Finding({}, {}, measured), load=str(load), faults=system.tell_faults())


def _owners(system: System) -> list[str]:
    """The workers that have partitions: to kill another takes nothing over."""
    workers = get(f"{system[system.names('worker')[0]].url}/internal/v1/topology")[1]["workers"]
    return [name for name in system.names("worker") if workers.get(system[name].url)]


def _memory_mib(system: System) -> dict[str, int]:
    return {name: psutil.Process(system[name].popen.pid).memory_info().rss >> 20 for name in system.names() if system.alive(name)}


def test_outage(system: System) -> None:
    system.start(ingresses=1, workers=2)
    away_s, rate = float(sized(120, 15)), 1000
    load = put_load(system, devices=sized(1000, 100), messages=int((away_s + 20) * rate), rate=rate)
    system.run_for(8.0)
    assert not system.wait_ready(), "nothing may be red before the outage"
    before, peak, red_after_s = _memory_mib(system), _memory_mib(system), dict[str, float]()
    outage = ServerKill(system, system.deployment.stack.kafka)
    went_s = time.monotonic()
    outage.down()
    try:
        while time.monotonic() - went_s < away_s:
            for name in system.names():
                # Red is an answer: a process that does not answer at all is something else.
                if name not in red_after_s and get(f"{system[name].url}/readyz")[0] == 503:
                    red_after_s[name] = time.monotonic() - went_s
            system.run_for(0.1)
            peak = {name: max(mib, peak.get(name, 0)) for name, mib in _memory_mib(system).items()}
    finally:
        outage.up()
    system.faults[f"Kafka outage of {away_s:g} s"] += 1
    back_s = time.monotonic()
    still_red = system.wait_ready()
    ready_s = time.monotonic() - back_s
    while load.running:
        system.run_for(0.2)
        peak = {name: max(mib, peak.get(name, 0)) for name, mib in _memory_mib(system).items()}
    load.finish()
    growth = {name: peak.get(name, 0) - mib for name, mib in before.items()}
    memory = ", ".join(f"{name} {mib} -> {peak.get(name, 0)} MiB" for name, mib in before.items())
    late = [name for name in system.names() if red_after_s.get(name, RED_WITHIN_S + 1) > RED_WITHIN_S]
    red = ", ".join(f"{name} {since_s:.1f} s" for name, since_s in red_after_s.items())
    grown = f"grown over {GROWTH_MIB} MiB"
    finding = exactness(system, load.ledger) + Finding(
        expected={"not red in 10 s": [], "not ready after": [], grown: []},
        found={"not red in 10 s": late, "not ready after": still_red, grown: [name for name, mib in growth.items() if mib > GROWTH_MIB]},
        measured=f"red after {red}; ready {ready_s:.1f} s after Kafka; peak RSS {memory}",
    )
    verdict("outage", finding, load=str(load), faults=system.tell_faults())


def test_sigterm(system: System) -> None:
    """Under load; each fifth exit, of all processes at once, with Kafka down."""
    system.start(ingresses=1, workers=2)
    exits, kafka = sized(50, 10), ServerKill(system, system.deployment.stack.kafka)
    load = put_load(system, devices=sized(500, 50), messages=exits * 4 * 300, rate=300)
    terminate, with_kafka_down = Terminate(system), Terminate(system)
    while len(terminate.codes) + len(with_kafka_down.codes) < exits:
        if len(with_kafka_down.codes) * 4 <= len(terminate.codes) - 4:
            kafka.down()
            try:
                system.run_for(system.random.uniform(0.5, 8.0))
                names = [name for name in system.names() if system.alive(name)]
                with_kafka_down(*names)
            finally:
                kafka.up()
            system.faults["of these with Kafka down"] += len(names)
            for name in names:
                system.restart(name)
        else:
            victim = system.random.choice([name for name in system.names() if system.alive(name)])
            terminate(victim)
            system.restart(victim)
        if system.random.random() < 0.7:  # the others are told to end while they start
            system.wait_ready()
        system.run_for(system.random.uniform(0.2, 2.0))
    strike(system, load, [])
    took_s = terminate.took_s + with_kafka_down.took_s
    late = sum(each > EXIT_WITHIN_S for each in took_s)
    codes = {code: (terminate.codes + with_kafka_down.codes).count(code) for code in sorted({*terminate.codes, *with_kafka_down.codes})}
    finding = exactness(system, load.ledger) + Finding(
        expected={"exits over 30 s": 0},
        found={"exits over 30 s": late},
        measured=f"{len(took_s)} exits, longest {max(terminate.took_s):.1f} s, with Kafka down "
        f"{max(with_kafka_down.took_s, default=0.0):.1f} s, exit codes {codes}",
    )
    verdict("sigterm", finding, load=str(load), faults=system.tell_faults())

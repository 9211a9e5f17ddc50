"""Aggregates, transitions and notifications equal the truth of the ledger, whatever is done to the workers."""

import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE, DEVICE_STATUS_TABLE
from tests.chaos.faults import Cut, Kill, KillInCommit, Pause, RollingRestart, WipeDataDirs
from tests.chaos.harness import SESSION_TIMEOUT_S, System, put_load, sized, strike
from tests.chaos.oracles import arrivals, exactness, readiness, transitions
from tests.chaos.results import verdict

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


def half_in_commit(system: System, table: str, kills: int) -> list[Kill | KillInCommit]:
    """Kills of workers, every other one while it commits."""
    return [Kill(system, "worker")] * (kills // 2) + [KillInCommit(system, table)] * (kills - kills // 2)


def test_aggregates(system: System) -> None:
    system.start(ingresses=1, workers=3)
    first = put_load(system, devices=sized(1000, 60), messages=sized(300_000, 10_000), rate=1000, prefix="A")
    strike(system, first, half_in_commit(system, DEVICE_AGGREGATES_TABLE, sized(50, 6)))
    verdict("aggregates after kills", exactness(system, first.ledger), load=str(first), faults=system.tell_faults())

    WipeDataDirs(system)()
    verdict("aggregates after wiping", exactness(system, first.ledger), load=str(first), faults=system.tell_faults())

    second = put_load(system, devices=sized(1000, 60), messages=sized(1_000_000, 20_000), rate=1000, prefix="B")
    strike(system, second, [Pause(system, "worker")] * sized(10, 2) + [RollingRestart(system, "worker")])
    finding = exactness(system, first.ledger, second.ledger)
    verdict("aggregates after pauses", finding, load=f"{first} and {second}", faults=system.tell_faults())


def test_transitions(system: System) -> None:
    system.start(ingresses=1, workers=3)
    # Devices flap every 10 to 40 s of their own time, which passes faster here.
    options = ("--faults", "flapping=1", "--ledger-status", "--speed", "5")
    load = put_load(system, *options, devices=sized(1000, 50), messages=sized(100_000, 12_000), rate=400)
    strike(system, load, [*half_in_commit(system, DEVICE_STATUS_TABLE, sized(50, 6)), Pause(system, "worker")])
    verdict("transitions", transitions(system, load), load=str(load), faults=system.tell_faults())


def test_network_cut(system: System) -> None:
    """Of one worker, shorter and longer than its session, and of the only ingress; in the end everything is ready again."""
    system.link("worker-0", "ingress-0")
    system.start(ingresses=1, workers=3)
    load = put_load(system, devices=sized(1000, 60), messages=sized(200_000, 20_000), rate=500)
    cuts = [
        (Cut(system, "worker-0", SESSION_TIMEOUT_S / 3), sized(10, 1)),
        (Cut(system, "worker-0", SESSION_TIMEOUT_S + 3.0), sized(10, 1)),
        (Cut(system, "worker-0", SESSION_TIMEOUT_S + 3.0, reset=True), sized(10, 1)),
        (Cut(system, "ingress-0", 3.0), sized(5, 1)),
        (Cut(system, "ingress-0", 15.0, reset=True), sized(5, 1)),
    ]
    strike(system, load, [cut for cut, count in cuts for _ in range(count)])
    finding = arrivals(system, load) + exactness(system, load.ledger) + readiness(system)
    verdict("network cut", finding, load=str(load), faults=system.tell_faults())

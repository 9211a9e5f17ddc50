"""No message that the broker acknowledged is missing in Kafka, whoever is killed."""

import pytest

from tests.chaos.faults import Junk, Kill, ServerKill
from tests.chaos.harness import System, put_load, sized, strike
from tests.chaos.oracles import arrivals, dead_letters, exactness, poison_of
from tests.chaos.results import verdict
from tests.chaos.retries import KillInRetry, counted_or_dead

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


def test_ingress(system: System) -> None:
    kafka = system.deployment.stack.kafka
    system.start(ingresses=2)
    load = put_load(system, devices=sized(1000, 100), messages=sized(500_000, 20_000), rate=1200)
    outage = ServerKill(system, kafka, away_s=float(sized(120, 8)))
    faults = [Kill(system, "ingress")] * sized(30, 6) + [ServerKill(system, kafka)] * sized(5, 1) + [outage]
    strike(system, load, faults)
    verdict("ingress", arrivals(system, load), load=str(load), faults=system.tell_faults())


def test_mqtt(system: System) -> None:
    system.start(ingresses=1)
    load = put_load(system, devices=sized(1000, 100), messages=sized(300_000, 20_000), rate=1000)
    strike(system, load, [ServerKill(system, system.deployment.stack.mqtt)] * sized(10, 3))
    verdict("mqtt", arrivals(system, load), load=str(load), faults=system.tell_faults())


def test_poison(system: System) -> None:
    """Through MQTT from the devices, and straight into Kafka from strangers; ingress and workers are killed meanwhile."""
    system.start(ingresses=1, workers=2)
    load = put_load(system, "--faults", "poison=0.01", devices=sized(1000, 100), messages=sized(200_000, 20_000), rate=700)
    junk = Junk(system, portion=sized(200, 6))
    kills = [Kill(system, "ingress")] * sized(20, 4) + [Kill(system, "worker")] * sized(20, 4)
    strike(system, load, [*kills, *[junk] * 10])
    poison = poison_of(load)
    finding = exactness(system, load.ledger) + dead_letters(system, poison, junk.thrown) + arrivals(system, load, junk.thrown)
    what = f"{load}, {poison.total()} poison, {len(junk.thrown)} junk records in Kafka"
    verdict("poison", finding, load=what, faults=system.tell_faults())


def test_retries(system: System) -> None:
    """Well-formed messages at which ingress and workers fail, for good or for a while; whoever tries them again is killed."""
    system.deployment.program = ("-m", "tests.support.failing_processes")
    system.start(ingresses=1, workers=2)
    rounds = sized(40, 4)
    load = put_load(system, devices=sized(1000, 100), messages=rounds * 3000, rate=500)
    failing = KillInRetry(system, devices=10)
    strike(system, load, [failing] * rounds)
    finding = exactness(system, load.ledger) + arrivals(system, load, others="X-") + counted_or_dead(system, failing)
    verdict(
        "retries",
        finding,
        load=f"{load}, {len(failing.sent)} messages of which one in four fails for good and one for a while",
        faults=system.tell_faults(),
    )

"""The short form: every fault once, one after the other, and everything that must hold, on one system in a few minutes."""

from collections.abc import Callable

import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE
from tests.chaos.faults import Cut, Junk, Kill, KillInCommit, Pause, RollingRestart, ServerKill, WipeDataDirs
from tests.chaos.harness import SESSION_TIMEOUT_S, System, put_load, strike
from tests.chaos.oracles import arrivals, dead_letters, exactness, poison_of, readiness, transitions
from tests.chaos.results import verdict

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(420)]


def test_short(system: System) -> None:
    stack = system.deployment.stack
    system.link("worker-0", "ingress-0")
    system.start(ingresses=1, workers=2)
    options = ("--faults", "flapping=1,poison=0.01", "--ledger-status", "--speed", "5")
    load = put_load(system, *options, devices=60, messages=18_000, rate=200)
    junk = Junk(system, portion=20)
    faults: list[Callable[[], None]] = [
        Kill(system, "worker"),
        KillInCommit(system, DEVICE_AGGREGATES_TABLE),
        Kill(system, "ingress"),
        Pause(system, "worker"),
        Cut(system, "worker-0", SESSION_TIMEOUT_S + 2.0),
        Cut(system, "ingress-0", 3.0, reset=True),
        ServerKill(system, stack.kafka),
        ServerKill(system, stack.mqtt),
        WipeDataDirs(system),
        RollingRestart(system, "worker"),
        junk,
        junk,
    ]
    strike(system, load, faults)
    poison = poison_of(load)
    finding = (
        arrivals(system, load, junk.thrown)
        + exactness(system, load.ledger)
        + transitions(system, load)
        + dead_letters(system, poison, junk.thrown)
        + readiness(system)
    )
    what = f"{load}, {poison.total()} poison, {len(junk.thrown)} junk records in Kafka"
    verdict("short form", finding, load=what, faults=system.tell_faults())

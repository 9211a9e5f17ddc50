"""Workers go over to a release with another form of the stored state, and back again, one after the other under load: every message counts once."""

from collections import Counter

import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES_TABLE, changelog_of
from tests.chaos.faults import Terminate
from tests.chaos.harness import System, put_load, sized
from tests.chaos.oracles import Topic, exactness, readiness
from tests.chaos.results import Finding, verdict
from tests.support.other_release import NEXT_VERSION

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

TODAY = ("-m", "ems_streams")
READS_BOTH = ("-m", "tests.support.other_release", "reads-both")
NEXT = ("-m", "tests.support.other_release", "next")
WORKERS = 3


def test_rolling_upgrade(system: System) -> None:
    system.start(ingresses=1, workers=WORKERS)
    load = put_load(system, devices=sized(500, 40), messages=sized(200_000, 12_000), rate=100)
    pause_s = load.duration_s / 8
    versions = {}
    for name, release in (("reads both", READS_BOTH), ("next", NEXT), ("back to reads both", READS_BOTH), ("back to today", TODAY)):
        system.run_for(pause_s / 2)
        roll(system, release)
        versions[name] = written(system)
        system.faults[f"rolled to: {name}"] += 1
    load.finish()

    # All are of today again; what the next release wrote and nobody has touched since is read by no one of today: so it must be gone.
    expected = {"next form was written": True, "in the end of the next form": 0, "workers that failed": []}
    found = {
        "next form was written": versions["next"][NEXT_VERSION] > 0,
        "in the end of the next form": last_versions(system)[NEXT_VERSION],
        "workers that failed": system.ends,
    }
    finding = Finding(expected, found, f"records of the next form: {versions['back to reads both'][NEXT_VERSION]}")
    finding += exactness(system, load.ledger) + readiness(system)
    verdict("rolling upgrade of the state, and back", finding, load=str(load), faults=system.tell_faults())


def roll(system: System, program: tuple[str, ...]) -> None:
    """SIGTERM of each worker, and its start as another release, each ready before the next."""
    system.deployment.program = program
    for name in system.names("worker"):
        Terminate(system)(name)
        system.restart(name)
        assert system.wait_ready() == []


def written(system: System) -> Counter[int]:
    """How many records of the changelog are of each version."""
    return Counter(value[0] for _, value in _records(system))


def last_versions(system: System) -> Counter[int]:
    """Likewise, of the last record of each key."""
    return Counter(value[0] for value in dict(_records(system)).values())


def _records(system: System) -> list[tuple[bytes, bytes]]:
    topic = Topic(system, changelog_of(system.deployment.application_id, DEVICE_AGGREGATES_TABLE))
    try:
        return [(message.key() or b"", value) for message in topic.new_records() if (value := message.value())]
    finally:
        topic.close()

"""Commits that fail again and again, told from an outage."""

from ems_streams.kafka.commit_troubles import CommitTroubles, Trouble


def test_the_first_failure_is_no_trouble_and_the_second_is() -> None:
    troubles = CommitTroubles()
    troubles.failed("aggregates[1]", "timed out")
    assert troubles.repeated == {}
    troubles.failed("aggregates[1]", "refused")
    assert troubles.repeated == {"aggregates[1]": Trouble(2, "refused")}


def test_only_a_commit_of_the_same_partition_ends_it() -> None:
    troubles = CommitTroubles()
    for _ in range(2):
        troubles.failed("aggregates[1]", "x")
        troubles.succeeded("aggregates[2]")
    assert "aggregates[1]" in troubles.repeated
    troubles.succeeded("aggregates[1]")
    assert troubles.repeated == {}


def test_an_outage_begins_anew() -> None:
    troubles = CommitTroubles()
    troubles.failed("aggregates[1]", "x")
    troubles.outage()
    troubles.failed("aggregates[1]", "x")
    assert troubles.repeated == {}


def test_partitions_that_are_gone_are_forgotten() -> None:
    troubles = CommitTroubles()
    for partition in ("aggregates[1]", "status[2]"):
        troubles.failed(partition, "x")
        troubles.failed(partition, "x")
    troubles.keep(["status[2]"])
    assert list(troubles.repeated) == ["status[2]"]

"""The topics that other people's programs depend on."""

import pytest

from ems_streams.kafka.catalogue import (
    DAY_MS,
    DLT_MAX_MESSAGE_BYTES,
    TABLES,
    TRANSACTIONAL_TOPICS,
    Catalogue,
    Key,
    changelog_of,
    dlt_of,
    leader_topic,
)

RETENTION_DAYS = {
    "device-telemetry": 7,
    "device-status": 30,
    "device-status-reports": 7,
    "device-aggregates": 30,
    "site-aggregates": 30,
    "device-notifications": 30,
    "device-commands": 7,
    "device-command-acks": 7,
    "device-command-events": 30,
    "alarm-acknowledgements": 7,
    "alarm-events": 30,
}


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue("app", 4)


@pytest.mark.parametrize(("name", "days"), RETENTION_DAYS.items())
def test_retention_is_as_promised(catalogue: Catalogue, name: str, days: int) -> None:
    assert catalogue[name].config == {"cleanup.policy": "delete", "retention.ms": str(days * 86_400_000)}


def test_the_registry_is_compacted_and_never_expires(catalogue: Catalogue) -> None:
    assert catalogue["device-registry"].config == {"cleanup.policy": "compact"}


@pytest.mark.parametrize(
    "name",
    [*RETENTION_DAYS, "site-parts", "ingress-heartbeats", "device-registry", "maintenance-windows", "alarm-rules", "window-promotions"],
)
def test_every_topic_has_dead_letters_that_fit_the_largest_payload(catalogue: Catalogue, name: str) -> None:
    dead_letters = catalogue[f"{name}-dlt"]

    assert dead_letters.name == dlt_of(name)
    assert dead_letters.retention_ms == 30 * DAY_MS
    assert int(dead_letters.config["max.message.bytes"]) == DLT_MAX_MESSAGE_BYTES > 4 * 1024 * 1024


def test_heartbeats_have_the_time_of_the_broker_and_the_partitions_of_the_devices(catalogue: Catalogue) -> None:
    heartbeats = catalogue["ingress-heartbeats"]
    assert heartbeats.config["message.timestamp.type"] == "LogAppendTime"
    assert heartbeats.partitions == catalogue["device-telemetry"].partitions


def test_site_aggregates_are_keyed_by_site_and_the_rest_by_device(catalogue: Catalogue) -> None:
    assert catalogue["site-aggregates"].key is Key.SITE_ID
    assert {catalogue[name].key for name in RETENTION_DAYS if name != "site-aggregates"} == {Key.SERIAL_NUMBER}


def test_changelogs_are_compacted_and_have_the_partitions_of_their_source(catalogue: Catalogue) -> None:
    for table in TABLES:
        changelog = catalogue[changelog_of("app", table)]
        assert changelog.compacted
        assert changelog.partitions == catalogue["device-telemetry"].partitions == 4


def test_the_partition_count_holds_for_all_topics_but_those_of_one() -> None:
    assert {topic.partitions for topic in Catalogue("app", 7) if topic.key is not Key.NONE} == {7}
    assert {topic.partitions for topic in Catalogue("app", 7) if topic.key is Key.NONE} == {1}
    assert Catalogue("app", 7)[leader_topic("app")].partitions == 1


def test_two_applications_share_the_events_but_no_internal_topic() -> None:
    live, replay = ({topic.name for topic in Catalogue(app, 4)} for app in ("live", "replay"))

    assert {name for name in live ^ replay if not name.startswith(("live-", "replay-"))} == set()
    assert {"live-device-aggregates-changelog", "live-__assignor-__leader"} <= live - replay


def test_names_are_looked_up(catalogue: Catalogue) -> None:
    assert "device-telemetry" in catalogue
    assert catalogue.get("nothing") is None
    assert len(list(catalogue)) == len(catalogue)


@pytest.mark.parametrize("name", ["maintenance-windows", "alarm-rules"])
def test_what_is_in_every_partition_is_kept_and_has_as_many_of_them_as_the_devices(catalogue: Catalogue, name: str) -> None:
    topic = catalogue[name]
    assert topic.config == {"cleanup.policy": "compact"}
    assert topic.partitions == catalogue["device-telemetry"].partitions
    assert name in TRANSACTIONAL_TOPICS


@pytest.mark.parametrize(
    "name", ["device-telemetry", "device-status-reports", "device-commands", "device-command-acks", "alarm-acknowledgements"]
)
def test_what_comes_from_outside_record_by_record_must_be_folded_up_to_the_end_of_its_log(catalogue: Catalogue, name: str) -> None:
    assert not catalogue[name].compacted
    assert name not in TRANSACTIONAL_TOPICS


def test_what_channels_have_to_deliver_is_kept_for_each_application(catalogue: Catalogue) -> None:
    deliveries = catalogue["app-deliveries-changelog"]
    assert deliveries.compacted
    assert int(deliveries.config["max.message.bytes"]) == DLT_MAX_MESSAGE_BYTES
    assert deliveries.partitions == catalogue["device-notifications"].partitions == catalogue["device-notifications-dlt"].partitions

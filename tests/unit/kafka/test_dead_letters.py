"""Whoever puts a record aside keeps its bytes, what it carries for others, and how often it was redriven: that count is what ends a loop."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from ems_streams.channels.intake import dead_letters_of, take_in
from ems_streams.domain.channel_config import ChannelsConfig, Retry
from ems_streams.domain.dead_letter import replay_count_of
from ems_streams.domain.deliveries import Chain, Deliveries, Outcome
from ems_streams.domain.delivery_codec import change_record, restore
from ems_streams.errors import MalformedError
from ems_streams.kafka.dead_letters import publish_dead_letter, publish_failed
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.postgres.sink import decode_all
from tests.support.partition import Stored
from tests.support.sink import notification_of

HEADERS = [("traceparent", b"00-1"), ("dlt-replay-count", b"2"), ("dlt-redrive-id", b"rd-1234")]
AT = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass
class Published:
    """As much of a partition as is used."""

    records: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = field(default_factory=list)

    def publish(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> None:
        self.records.append((topic, key, value, list(headers)))


def batch_of(topic: str, value: bytes) -> RecordBatch:
    return RecordBatch(topic, 0, [Stored(5, 1000, b"INV-001", value, HEADERS)], 0)


def assert_kept(headers: Any) -> None:
    assert replay_count_of(headers) == 2
    names = [name for name, _ in headers]
    assert names.count("dlt-replay-count") == 1
    assert "dlt-redrive-id" not in names
    assert ("traceparent", b"00-1") in headers, "what a record carries for others stays with it"


@pytest.mark.parametrize("failed", [False, True])
def test_agents(failed: bool) -> None:
    published: Any = Published()
    batch = batch_of("device-telemetry", b"\xff")
    if failed:
        publish_failed(published, batch, batch.records[0], ValueError("no"), stage="aggregates", attempts=4, first_failed_at=AT)
    else:
        publish_dead_letter(published, batch, batch.records[0], MalformedError("invalid_json", "x"), "aggregates")
    ((topic, key, value, headers),) = published.records
    assert (topic, key, value) == ("device-telemetry-dlt", b"INV-001", b"\xff")
    assert_kept(headers)


@dataclass
class KafkaRecord(Stored):
    topic: str = "device-notifications"
    partition: int = 0


@pytest.mark.parametrize("value", [b"no json", None])
def test_sink(value: bytes | None) -> None:
    _, dead = decode_all([KafkaRecord(5, 1000, b"INV-001", value, HEADERS)])  # type: ignore[arg-type, list-item]  # as much as is used
    assert dead[0].value == value, "no value is not an empty one"
    assert_kept(dead[0].headers)


CONFIG = ChannelsConfig.model_validate(
    {"channels": {"ops": {"type": "webhook", "url": "http://127.0.0.1:1/", "secret_env": "X"}}, "routes": [{"channels": ["ops"]}]}
)


def test_channels_also_over_a_restart() -> None:
    import json

    good = KafkaRecord(6, 1000, b"INV-001", json.dumps(notification_of("INV-001")).encode(), HEADERS)
    deliveries = Deliveries()
    taken = take_in(CONFIG, "ops", deliveries, [KafkaRecord(5, 1000, b"INV-001", b"no json", HEADERS), good])  # type: ignore[list-item]
    assert_kept(taken.dead_letters[0][2][2])
    restored = restore("ops", [change_record("ops", each) for each in taken.changes]).deliveries
    chains: list[Chain] = list(restored.open.values())
    dead = dead_letters_of("ops", chains, Outcome(delivered=False, error="400", error_class="http_400", permanent=True))
    assert Retry().attempts > 0
    assert_kept(dead[0][2][2])


def test_a_notification_that_could_not_be_put_on_record_does_not_block_its_channel() -> None:
    import json

    value = json.dumps(notification_of("INV-001") | {"data": {"quotes": '"' * 1_200_000}}).encode()
    record = KafkaRecord(6, 1000, b"INV-001", value, HEADERS)
    taken = take_in(CONFIG, "ops", Deliveries(), [record])  # type: ignore[list-item]
    assert taken.changes == []
    headers = dict(taken.dead_letters[0][2][2])
    assert headers["dlt-error-class"] == b"too_large"

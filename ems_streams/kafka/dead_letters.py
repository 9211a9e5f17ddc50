"""A record that cannot be processed goes to `{topic}-dlt`, in the same transaction that moves the position past it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast

from ems_streams.domain.dead_letter import Headers, Origin, contents, dead_letter_headers, malformed_headers, replay_count_of
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY_LATE, dlt_of
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import Record, RecordBatch
from ems_streams.tracing import current


class Keyed(Protocol):
    """What is decoded from a record of a device."""

    @property
    def key(self) -> bytes: ...


E = TypeVar("E", bound=Keyed)


def good_records(
    batch: RecordBatch, decode: Callable[[bytes | None], E], start: int, partition: PartitionState[Any], stage: str | None
) -> Iterator[tuple[Record, E]]:
    """Records from index `start` that decode, and whose key is their device's serial number; the others go to the dead letters.

    Args:
        batch: All records.
        decode: Raises `MalformedError`.
        start: Index of the first record.
        partition: Publishes the dead letters.
        stage: Agent that the dead letters name; None leaves them to the other agent that reads the topic.
    """
    followed = current() is not None
    for record, event in batch.decoded(decode, start):
        if followed:
            partition.cause = record
        error = defect(record, event)
        if error is None:
            yield record, cast(E, event)
        elif stage is not None:
            publish_dead_letter(partition, batch, record, error, stage)
    partition.cause = None


def defect(record: Record, event: Keyed | MalformedError) -> MalformedError | None:
    """What is wrong with a record that was decoded to an event, or was not; None when nothing is."""
    if isinstance(event, MalformedError):
        return event
    return wrong_key(record.key, event.key) if record.key != event.key else None


def publish_dead_letter(partition: PartitionState[Any], batch: RecordBatch, record: Record, error: MalformedError, stage: str) -> None:
    """Publish the record's own key and bytes with the headers that say where it came from and why it failed."""
    # The record's own time, and not the clock's: a replay must give the same bytes.
    failed_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    replays = replay_count_of(record.headers)
    _publish(
        partition, batch, record, malformed_headers(_origin(batch, record), error, stage=stage, failed_at=failed_at, replay_count=replays)
    )


def publish_late(partition: PartitionState[Any], batch: RecordBatch, record: Record, watermark_ms: int) -> None:
    """Publish a record that is too late for its windows, as it came, with where it came from and how far its device was by then."""
    headers = [
        ("late-original-topic", batch.topic.encode()),
        ("late-original-partition", str(batch.partition).encode()),
        ("late-original-offset", str(record.offset).encode()),
        ("late-watermark", format_epoch_ms(watermark_ms).encode()),
    ]
    partition.publish(DEVICE_TELEMETRY_LATE, record.key, record.value, headers)


def publish_failed(
    partition: PartitionState[Any],
    batch: RecordBatch,
    record: Record,
    error: Exception,
    *,
    stage: str,
    attempts: int,
    first_failed_at: datetime,
) -> None:
    """Publish a record that could not be processed although nothing is wrong with its form, after the last attempt."""
    headers = dead_letter_headers(
        _origin(batch, record),
        type(error).__name__,
        repr(error),
        stage=stage,
        failed_at=first_failed_at,
        attempts=attempts,
        replay_count=replay_count_of(record.headers),
    )
    _publish(partition, batch, record, headers)


def _origin(batch: RecordBatch, record: Record) -> Origin:
    return Origin(batch.topic, record.timestamp, batch.partition, record.offset)


def _publish(partition: PartitionState[Any], batch: RecordBatch, record: Record, headers: Headers) -> None:
    value, all_headers = contents(record.value, headers, record.headers)
    partition.publish(dlt_of(batch.topic), record.key, value, all_headers)


def wrong_key(key: bytes | None, wanted: bytes) -> MalformedError:
    """A record whose key is not its device's serial number: it may be in a partition that another worker owns."""
    return MalformedError("key_mismatch", f"key={key!r}: must be the serial number {wanted.decode()!r}")

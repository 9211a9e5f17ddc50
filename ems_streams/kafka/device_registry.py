"""The device registry from outside: all of it as it is now, and entries written or removed."""

from collections.abc import Callable, Iterable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from ems_streams.domain.events import decode
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import MalformedError, TopicsMissingError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import DEVICE_REGISTRY
from ems_streams.kafka.command_writer import command_writer
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

WRITTEN_AT_ONCE = 5_000


async def read_registry(settings: Settings, on_progress: Callable[[int, int], None] = lambda *_: None) -> dict[str, RegistryEntry]:
    """Every device that is registered now, by serial number; `on_progress` gets how many offsets are read, and of how many.

    A record that cannot be read is left out, as the ingress does. Raises `TopicsMissingError` and `DependencyError`.
    """
    found: dict[str, RegistryEntry] = {}
    async with positioned_consumer(settings) as consumer:
        ranges = await whole(consumer, DEVICE_REGISTRY) if await _partitions(consumer) else {}
        if not ranges:
            raise TopicsMissingError([DEVICE_REGISTRY])
        total, read = sum(end - start for start, end in ranges.values()), dict.fromkeys(ranges, 0)
        async for tp, records in read_ranges(consumer, ranges):
            for record in records:
                _apply(found, record.key, record.value)
            read[tp] = records[-1].offset + 1 - ranges[tp][0]
            on_progress(sum(read.values()), total)
    return found


async def read_entry(settings: Settings, serial_number: str) -> RegistryEntry | None:
    """The entry of one device, None when it has none; only its partition is read. Raises `TopicsMissingError` and `DependencyError`."""
    key = serial_number.encode()
    found: dict[str, RegistryEntry] = {}
    async with positioned_consumer(settings) as consumer:
        count = len(await _partitions(consumer))
        if not count:
            raise TopicsMissingError([DEVICE_REGISTRY])
        tp = TopicPartition(DEVICE_REGISTRY, partition_for(key, count))
        starts, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        async for _, records in read_ranges(consumer, {tp: (starts[tp], ends[tp])}):
            for record in records:
                if record.key == key:
                    _apply(found, record.key, record.value)
    return found.get(serial_number)


async def write_registry(
    settings: Settings,
    entries: Iterable[RegistryEntry],
    removed: Iterable[str] = (),
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Return when Kafka has all entries, and that the others are removed; `on_progress` gets how many are written, and of how many.

    Every record goes to the partition of its key on the topic as it is. Raises `TopicsMissingError` and `DependencyError`, also when Kafka goes away in the middle and
    has not taken the next `WRITTEN_AT_ONCE` within the time of a `CommandWriter`; what was written before stays.
    """
    records: list[KeyValue] = [(entry.serial_number.encode(), entry.encode(), ()) for entry in entries]
    records += [(serial_number.encode(), None, ()) for serial_number in removed]
    if not records:
        return
    async with positioned_consumer(settings) as consumer:
        partitions = len(await _partitions(consumer))
    if not partitions:
        raise TopicsMissingError([DEVICE_REGISTRY])
    async with command_writer(settings, "the devices", "do it again, what is written already is left alone then") as writer:
        for start in range(0, len(records), WRITTEN_AT_ONCE):
            part = records[start : start + WRITTEN_AT_ONCE]
            by_target: dict[tuple[str, int], list[KeyValue]] = {}
            for record in part:
                by_target.setdefault((DEVICE_REGISTRY, partition_for(record[0] or b"", partitions)), []).append(record)
            await writer.write(by_target)
            on_progress(start + len(part), len(records))


async def _partitions(consumer: AIOKafkaConsumer) -> set[TopicPartition]:
    metadata = await consumer._client.fetch_all_metadata()
    return metadata.partitions_for_topic(DEVICE_REGISTRY) or set()


def _apply(found: dict[str, RegistryEntry], key: bytes | None, value: bytes | None) -> None:
    if value is None:
        found.pop((key or b"").decode(errors="replace"), None)
        return
    try:
        entry = decode(RegistryEntry, value)
    except MalformedError as error:
        log.debug("registry_record_skipped", key=repr(key), error=str(error))
        return
    found[entry.serial_number] = entry

"""Maintenance windows on their topic: set, ended and listed from outside; each is written into every partition, in one transaction."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer

from ems_streams.domain.maintenance import KEPT_MS, MaintenanceWindow, decode_window
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError, NotFoundError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import MAINTENANCE_WINDOWS
from ems_streams.kafka.every_partition import write_everywhere
from ems_streams.kafka.range_reader import partitions_of, positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

FIRST_PARTITION = 0


class NoSuchWindowError(NotFoundError):
    """There is no maintenance window of that id, or it is over."""

    title = "No such maintenance window"


async def maintenance_windows(settings: Settings) -> list[MaintenanceWindow]:
    """Every window that is remembered, in the order of their begins; raises `EmsError`."""
    async with positioned_consumer(settings) as consumer:
        return await _windows(consumer)


async def set_window(settings: Settings, window: MaintenanceWindow) -> None:
    """Make a window known to all partitions, in place of one of its id; raises `EmsError`. Windows that are long over are removed on the way."""
    async with positioned_consumer(settings) as consumer:
        known = await _windows(consumer)
        partitions = [tp.partition for tp in await partitions_of(consumer, MAINTENANCE_WINDOWS)]
    old_ms = to_epoch_ms(datetime.now(UTC)) - KEPT_MS
    records: list[KeyValue] = [(each.key, None, ()) for each in known if to_epoch_ms(each.ends_at) <= old_ms]
    records.append((window.key, window.encode(), ()))
    await _publish(settings, partitions, records)


async def end_window(settings: Settings, window_id: str, at: datetime) -> MaintenanceWindow:
    """End a window at a time, which is now as a rule; one that has not begun by then is removed. Gives it as it was.

    Raises `NoSuchWindowError` when there is none, or when it is over by then.
    """
    async with positioned_consumer(settings) as consumer:
        known = {each.window_id: each for each in await _windows(consumer)}
        partitions = [tp.partition for tp in await partitions_of(consumer, MAINTENANCE_WINDOWS)]
    window = known.get(window_id)
    if window is None:
        raise NoSuchWindowError(f"there is no maintenance window {window_id!r}")
    if window.ends_at <= at:
        raise NoSuchWindowError(f"maintenance window {window_id!r} is over since {window.ends_at:%Y-%m-%dT%H:%M:%SZ}")
    begun = window.starts_at < at
    value = window.model_copy(update={"ends_at": at}).encode() if begun else None
    await _publish(settings, partitions, [(window.key, value, ())])
    return window


async def _windows(consumer: AIOKafkaConsumer) -> list[MaintenanceWindow]:
    every = await whole(consumer, MAINTENANCE_WINDOWS)
    ranges = {tp: bounds for tp, bounds in every.items() if tp.partition == FIRST_PARTITION}
    latest: dict[bytes, bytes | None] = {}
    async for _, records in read_ranges(consumer, ranges):
        latest.update({record.key or b"": record.value for record in records})
    return sorted(_readable(latest.values()), key=lambda each: (each.starts_at, each.window_id))


def _readable(values: Iterable[bytes | None]) -> Iterable[MaintenanceWindow]:
    for value in values:
        if value is not None:
            try:
                yield decode_window(value)
            except MalformedError as error:
                # The agents have put it into the dead letters.
                log.debug("maintenance_window_unreadable", error=str(error))


async def _publish(settings: Settings, partitions: Iterable[int], records: list[KeyValue]) -> None:
    await write_everywhere(settings, f"{settings.application_id}-maintenance-{uuid.uuid4().hex}", MAINTENANCE_WINDOWS, partitions, records)

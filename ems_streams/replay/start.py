"""Define a replay, run it in this process or in several, and remove it with all it made."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from ems_streams.domain.events import malformed
from ems_streams.domain.fold_outcome import FUTURE_TOLERANCE_MS
from ems_streams.domain.replays import Offsets, ReplayDefinition, read_range
from ems_streams.errors import EmsError, UsageError
from ems_streams.kafka.range_reader import Ranges, between, positioned_consumer, whole
from ems_streams.kafka.topic_lifecycle import create_topics, delete_topics
from ems_streams.replay.registry import Replay, define, forget, forget_backfills, replay_of, replays
from ems_streams.replay.runner import replay_settings
from ems_streams.replay.topics import backfill_topic, topics_of
from ems_streams.settings import Settings

DEFAULT_LEAD_IN_MS = FUTURE_TOLERANCE_MS
"""As far as a device's clock may run ahead and its messages still count in windows."""


async def defined(
    settings: Settings,
    name: str,
    topic: str,
    from_time: datetime,
    to_time: datetime,
    *,
    now: datetime,
    lead_in_ms: int = DEFAULT_LEAD_IN_MS,
    lead_out_ms: int | None = None,
    devices: Sequence[str] = (),
    sites: Sequence[int] = (),
) -> Replay:
    """The replay of that name, which is made if there is none yet, with its topics and its frozen offsets.

    Raises `UsageError` when there is one that was asked for differently, `EmsError` when nothing is to be read.
    """
    lead_out_ms = round(settings.correction_horizon_s * 1000) if lead_out_ms is None else lead_out_ms
    async with positioned_consumer(settings) as consumer:
        kept = _by_number(await whole(consumer, topic))
        offsets = _by_number(await between(consumer, topic, *read_range(from_time, to_time, lead_in_ms, lead_out_ms)))
        _check_partitions(settings, topic, offsets)
        # What cannot be meant is refused before anything is made.
        wanted = _definition(
            name=name,
            application_id=settings.application_id,
            topic=topic,
            from_time=from_time,
            to_time=to_time,
            lead_in_ms=lead_in_ms,
            lead_out_ms=lead_out_ms,
            devices=tuple(sorted(devices)),
            sites=tuple(sorted(sites)),
            offsets=offsets,
            # Whether what the topic begins with was the first record ever, or the first that retention has left, nobody can say.
            truncated=any(0 < kept[partition][0] >= start for partition, (start, _) in offsets.items()),
            created_at=now,
        )
        await create_topics(settings, topics_of(settings.application_id, name, settings.partitions))
        backfill = _by_number(await whole(consumer, backfill_topic(settings.application_id, name)))
    if any(end > start for start, end in backfill.values()):
        # What was backfilled comes after everything else, and would be too late for its windows.
        horizon_ms = _span_ms(from_time, to_time) + lead_in_ms + lead_out_ms
        wanted = wanted.model_copy(update={"horizon_ms": horizon_ms, "backfill_offsets": backfill})
    return await _found_or_made(settings, wanted)


async def _found_or_made(settings: Settings, wanted: ReplayDefinition) -> Replay:
    name = wanted.name
    existing = (await replays(settings)).get(name)
    if existing is not None:
        if not existing.definition.same_request(wanted):
            raise UsageError(f"replay {name} exists with another range or other filters: delete it, or choose another name")
        return existing
    if wanted.events_total == 0:
        await delete_topics(settings, [each.name for each in topics_of(settings.application_id, name, settings.partitions)])
        span = f"{wanted.from_time.isoformat()} to {wanted.to_time.isoformat()}"
        raise EmsError(f"nothing to replay: {wanted.topic} has no records of {span}")
    await define(settings, wanted)
    return await replay_of(settings, name)


async def delete(settings: Settings, name: str) -> list[str]:
    """Forget a replay and remove its topics and its local state; returns the topics that were there."""
    found = (await replays(settings)).get(name)
    topics = await delete_topics(settings, [each.name for each in topics_of(settings.application_id, name, settings.partitions)])
    await forget_backfills(settings, backfill_topic(settings.application_id, name))
    if found is not None:
        await forget(settings, found)
        directory = replay_settings(settings, found.definition).worker_data_dir
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    elif not topics:
        raise EmsError(f"there is no replay {name}")
    return topics


def _definition(**fields: object) -> ReplayDefinition:
    try:
        return ReplayDefinition.model_validate(fields)
    except ValidationError as error:
        raise UsageError(malformed(error).detail) from None


def _check_partitions(settings: Settings, topic: str, offsets: Offsets) -> None:
    if len(offsets) != settings.partitions:
        raise UsageError(f"{topic} has {len(offsets)} partitions, and EMS_PARTITIONS={settings.partitions}: they must be the same")


def _by_number(ranges: Ranges) -> Offsets:
    return {tp.partition: offsets for tp, offsets in ranges.items()}


def _span_ms(from_time: datetime, to_time: datetime) -> int:
    return round((to_time - from_time).total_seconds() * 1000)

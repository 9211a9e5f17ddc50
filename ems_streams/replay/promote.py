"""Hand the windows of a replay to the live system: one record per device, which its worker takes in as a whole.

Only the live worker writes live state. What is sent is what differs; what live has and the replay has not stays as it is.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition

from ems_streams.domain.aggregate_events import SitePart, decode_site_part
from ems_streams.domain.promotions import PromotedWindow, Promotion
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.domain.window_diff import Comparison, Verdict, WindowKey, compare
from ems_streams.domain.windows import LABELS
from ems_streams.errors import EmsError
from ems_streams.kafka.catalogue import WINDOW_PROMOTIONS
from ems_streams.kafka.command_writer import command_writer
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.replay.diff import span_of_event, windows_of_both
from ems_streams.replay.registry import Replay
from ems_streams.replay.topics import shadow_parts_topic
from ems_streams.settings import Settings

RECORD_BYTES_MAX = 4 * 1024 * 1024


@dataclass(slots=True)
class Promoted:
    """What was handed over, or would be.

    Attributes:
        windows: By device.
        left: Windows that live has and the replay has not; they stay.
    """

    windows: dict[str, int] = field(default_factory=dict)
    left: int = 0


async def promote(
    settings: Settings,
    replay: Replay,
    windows: Collection[str] = LABELS,
    *,
    devices: Collection[str] = (),
    dry_run: bool = False,
    accept_truncated: bool = False,
) -> Promoted:
    """Send what differs in the range to the live worker; safe to do again. Windows that are only partly covered are left out.

    Raises `EmsError` when windows may know less than those of live, unless that is accepted.
    """
    if replay.definition.truncated and not (accept_truncated or dry_run):
        raise EmsError(
            f"replay {replay.definition.name}: its topic may no longer have all records of the range, so that windows of live could lose some; "
            "look at the differences, then promote with --accept-truncated"
        )
    done = Promoted()
    async with command_writer(settings, "the windows", "promote them again, it changes nothing of what is done") as writer:
        async for promotion in _promotions(settings, replay, windows, devices, done):
            done.windows[promotion.serial_number] = len(promotion.windows)
            if not dry_run:
                target = (WINDOW_PROMOTIONS, partition_for(promotion.key, settings.partitions))
                await writer.write({target: [(promotion.key, _checked(promotion), ())]})
    return done


async def _promotions(
    settings: Settings, replay: Replay, windows: Collection[str], devices: Collection[str], done: Promoted
) -> AsyncIterator[Promotion]:
    async for pairs in windows_of_both(settings, replay, windows):
        wanted: dict[WindowKey, tuple[Comparison, Mapping[str, Any]]] = {}
        for key, (live, shadow) in pairs.items():
            window = shadow or live
            if window is None or not replay.definition.covers(span_of_event(window)) or (devices and key.serial_number not in devices):
                continue
            comparison = compare(key, live, shadow)
            done.left += comparison.verdict is Verdict.MISSING_IN_SHADOW
            if comparison.verdict in {Verdict.DIFFERENT, Verdict.MISSING_IN_LIVE}:
                wanted[key] = comparison, window
        if wanted:
            partition = partition_for(next(iter(wanted)).serial_number.encode(), settings.partitions)
            parts = await _parts(settings, replay, partition, wanted.keys())
            for serial_number in sorted({key.serial_number for key in wanted}):
                yield _promotion(
                    replay, serial_number, {key: each for key, each in wanted.items() if key.serial_number == serial_number}, parts
                )


def _promotion(
    replay: Replay,
    serial_number: str,
    wanted: Mapping[WindowKey, tuple[Comparison, Mapping[str, Any]]],
    parts: Mapping[WindowKey, SitePart],
) -> Promotion:
    newest = wanted[max(wanted, key=lambda key: key.start)][1]
    windows = [
        PromotedWindow(parts[key].window, parts[key].span, comparison.live_revision, parts[key].summary)
        for key, (comparison, _) in sorted(wanted.items())
    ]
    identity = int(newest["deviceId"]), int(newest["siteId"]), str(newest["deviceType"])
    return Promotion(replay.definition.name, serial_number, *identity, windows)


async def _parts(settings: Settings, replay: Replay, partition: int, wanted: Collection[WindowKey]) -> dict[WindowKey, SitePart]:
    """The last revision of these windows in mergeable form."""
    topic = shadow_parts_topic(replay.definition.application_id, replay.definition.name)
    found: dict[WindowKey, SitePart] = {}
    async with positioned_consumer(settings) as consumer:
        tp = TopicPartition(topic, partition)
        async for _, records in read_ranges(consumer, {tp: (await whole(consumer, topic))[tp]}):
            for record in records:
                part = decode_site_part(record.value)
                key = WindowKey(part.serial_number, part.window.label, format_epoch_ms(part.span.start_ms))
                if key in wanted and (key not in found or found[key].revision <= part.revision):
                    found[key] = part
    return found


def _checked(promotion: Promotion) -> bytes:
    value = promotion.encode()
    if len(value) > RECORD_BYTES_MAX:
        raise EmsError(
            f"{promotion.serial_number}: {len(promotion.windows)} windows are {len(value)} bytes, too many for one record: promote by --windows"
        )
    return value

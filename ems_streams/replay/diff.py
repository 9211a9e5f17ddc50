"""Live against shadow: the last revision of every window of the range, device by device, one partition after the other.

Live windows are found by when they were published, which is not before they begin, so that what is read is from the begin of the range on.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from ems_streams.domain.events import decode
from ems_streams.domain.fold_outcome import FUTURE_TOLERANCE_MS
from ems_streams.domain.replays import ReplayDefinition
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.domain.window_diff import Comparison, Verdict, WindowKey, compare
from ems_streams.domain.windows import LABELS, Span
from ems_streams.errors import EmsError, MalformedError
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES
from ems_streams.kafka.range_reader import Ranges, between, positioned_consumer, read_ranges, whole
from ems_streams.postgres.rows import DeviceWindowEvent
from ems_streams.replay.registry import Replay, ReplayState
from ems_streams.replay.topics import shadow_topic
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_FAR_AHEAD_MS = 2**50


@dataclass(slots=True)
class Diff:
    """What a comparison found.

    Attributes:
        counts: Windows by verdict and kind.
        partly_covered: Windows that touch the range without lying in it; not compared.
        unreadable: Records that are no windows; passed over.
        findings: Every window that is not the same.
    """

    counts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    partly_covered: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    findings: list[Comparison] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether live and shadow say the same of every window, and there was one."""
        return bool(self.counts) and not self.findings

    def total(self, verdict: Verdict) -> int:
        """Windows of all kinds with that verdict."""
        return sum(count for (_, each), count in self.counts.items() if each is verdict)


async def diff(settings: Settings, replay: Replay, windows: Collection[str] = LABELS, *, edges: bool = False) -> Diff:
    """Compare the windows of a finished replay.

    Args:
        settings: Of the live system.
        replay: The replay.
        windows: Only these kinds.
        edges: Compare those that are only partly covered, too.
    """
    found = Diff()

    def pass_over(record: ConsumerRecord, error: MalformedError) -> None:
        found.unreadable += 1
        log.info("not a window", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error))

    async for pairs in windows_of_both(settings, replay, windows, pass_over):
        for key, (live, shadow) in sorted(pairs.items()):
            window = live or shadow
            assert window is not None
            if not edges and not replay.definition.covers(span_of_event(window)):
                found.partly_covered[key.window] += 1
                continue
            comparison = compare(key, live, shadow)
            found.counts[key.window, comparison.verdict] += 1
            if comparison.verdict is not Verdict.SAME:
                found.findings.append(comparison)
    return found


Pair = tuple[dict[str, Any] | None, dict[str, Any] | None]
"""Last revision in live and in the shadow."""


OnUnreadable = Callable[[ConsumerRecord, MalformedError], None]


async def windows_of_both(
    settings: Settings, replay: Replay, windows: Collection[str] = LABELS, on_unreadable: OnUnreadable = lambda *_: None
) -> AsyncIterator[dict[WindowKey, Pair]]:
    """Every window that touches the range, as live and shadow have it, a partition at a time; raises `EmsError` before the replay is finished.

    Others may have written to the topic: `on_unreadable` gets what is no window.
    """
    definition = replay.definition
    if replay.state is not ReplayState.FINISHED:
        raise EmsError(f"replay {definition.name} is not finished; go on with `ems-streams replay start --into {definition.name}`")
    async with positioned_consumer(settings) as consumer:
        since_ms = max(definition.from_ms - FUTURE_TOLERANCE_MS, 0)
        live = await between(consumer, DEVICE_AGGREGATES, since_ms, _FAR_AHEAD_MS)
        shadow = await whole(consumer, shadow_topic(definition.application_id, definition.name))
        for partition in sorted(definition.offsets):
            ours, theirs = [
                await _last(
                    consumer,
                    {tp: offsets for tp, offsets in ranges.items() if tp.partition == partition},
                    definition,
                    windows,
                    on_unreadable,
                )
                for ranges in (live, shadow)
            ]
            yield {key: (ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}


async def _last(
    consumer: AIOKafkaConsumer, ranges: Ranges, definition: ReplayDefinition, windows: Iterable[str], on_unreadable: OnUnreadable
) -> dict[WindowKey, dict[str, Any]]:
    wanted = set(windows)
    found: dict[WindowKey, dict[str, Any]] = {}
    async for _, records in read_ranges(consumer, ranges):
        for record in records:
            try:
                decode(DeviceWindowEvent, record.value)
            except MalformedError as error:
                on_unreadable(record, error)
                continue
            window = orjson.loads(record.value)
            if window["window"] not in wanted or not definition.wants(window["serialNumber"], window["siteId"]):
                continue
            if not definition.touches(span_of_event(window)):
                continue
            key = WindowKey(window["serialNumber"], window["window"], window["windowStart"])
            if key not in found or found[key]["revision"] <= window["revision"]:
                found[key] = window
    return found


def span_of_event(window: Mapping[str, Any]) -> Span:
    """From when to when a window on the wire is."""
    start, end = (to_epoch_ms(datetime.fromisoformat(window[name])) for name in ("windowStart", "windowEnd"))
    return Span(start, end)

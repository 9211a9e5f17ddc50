"""Windows of a replay on their way into live: what a record of `window-promotions` is, and what it does to the state of its device.

A promoted window becomes the next revision of the live one. Live remembers, where it still has the quarter of an hour that the window begins
in, what was published last; so a promotion that comes twice, or says what live says anyway, changes nothing. Of older windows live knows
nothing: their revision is the one that the replay's comparison found, plus one, and so the same however often the record comes.

Samples are not promoted. What is later than the promotion and within the correction horizon corrects its windows from live's own samples, by
live's own fold, as it does without any promotion; so a fold that was changed goes live before its windows are promoted.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from xxhash import xxh3_64_digest

from ems_streams.domain import summary as summaries
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.bounded import REVISION_MAX, bounded, id_of, span_between
from ems_streams.domain.device_windows import Quarters, WindowResult
from ems_streams.domain.fold_outcome import NEVER_MS
from ems_streams.domain.quarter import Published, Quarter
from ems_streams.domain.summary import Summary
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import QUARTER_MS, Span, Window, WindowPolicy
from ems_streams.errors import MalformedError

PROMOTED_HEADER: Final = "promoted-by"
"""Header of a window that says something else because of a replay, which it names: it is history, and nothing happens because of it."""
_MINUTES: Final = QUARTER_MS // MINUTE_MS


@dataclass(frozen=True, slots=True)
class PromotedWindow:
    """One window.

    Attributes:
        window: Its kind.
        span: From when to when.
        live_revision: The last one that live had published when it was compared; 0 when there was none.
        summary: What it is to say.
    """

    window: Window
    span: Span
    live_revision: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Promotion:
    """All promoted windows of one device; a record of `window-promotions`.

    Attributes:
        replay: Name of the replay.
        serial_number: Device.
        device_id: As the replay knows it, like `site_id` and `device_type`; for devices that live does not know.
        windows: In any order.
    """

    replay: str
    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    windows: Sequence[PromotedWindow]

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()

    def encode(self) -> bytes:
        """The value of the record: a line of JSON, then the summaries one behind the other, compressed."""
        contents = [summaries.encode(each.summary) for each in self.windows]
        head = {
            "replay": self.replay,
            "serialNumber": self.serial_number,
            "deviceId": self.device_id,
            "siteId": self.site_id,
            "deviceType": self.device_type,
            "windows": [
                [each.window.label, each.span.start_ms, each.span.end_ms, each.live_revision, len(content)]
                for each, content in zip(self.windows, contents, strict=True)
            ],
        }
        return orjson.dumps(head) + b"\n" + zlib.compress(b"".join(contents))


def decode_promotion(value: bytes | None) -> Promotion:
    """The promotion of its bytes; raises `MalformedError`."""
    try:
        head, compressed = (value or b"").split(b"\n", 1)
        fields, contents = orjson.loads(head), zlib.decompress(compressed)
        windows, at = [], 0
        for label, start_ms, end_ms, live_revision, length in fields["windows"]:
            summary = summaries.decode(contents[at : (at := at + bounded("length", length, 0, len(contents)))])
            summary.metrics_view()  # damage must show here, and not when it is published
            revision = bounded("liveRevision", live_revision, 0, REVISION_MAX)
            windows.append(PromotedWindow(Window.of_label(label), span_between(start_ms, end_ms), revision, summary))
        identity = id_of("deviceId", fields["deviceId"]), id_of("siteId", fields["siteId"]), str(fields["deviceType"])
        return Promotion(str(fields["replay"]), str(fields["serialNumber"]), *identity, windows)
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise MalformedError("invalid_promotion", f"{error!r}; expected a line of JSON and compressed summaries") from None


def promote(state: DeviceAggregates, quarters: Quarters, promotion: Promotion, policy: WindowPolicy) -> list[WindowResult]:
    """Make windows say what the replay says; gives those that did not yet, in the order of their ends, to be published."""
    results = []
    for each in promotion.windows:
        digest = xxh3_64_digest(summaries.encode(each.summary))
        holder = _holder(state, quarters, each, policy)
        slot = _slot(each)
        before = None if holder is None else holder.published.get(slot)
        if before is not None and before.digest == digest:
            continue
        revision = max(0 if before is None else before.revision, each.live_revision) + 1
        if holder is not None:
            holder.published[slot] = Published(revision, digest)
            if each.window is Window.QUARTER:
                # From here on, longer windows are merged from it; without samples it cannot be calculated again.
                holder.summary = each.summary
                if not (holder.settled or holder.samples):
                    holder.settled = True
                    # Messages that come after all are taken as long as they may correct anything.
                    holder.promoted = holder.start_ms + QUARTER_MS > state.closed_ms[Window.QUARTER] - policy.horizon_ms
            quarters.put(holder)
        results.append(WindowResult(each.window, each.span, revision, each.summary))
    results.sort(key=lambda result: (result.span.end_ms, result.window))
    return results


def _holder(state: DeviceAggregates, quarters: Quarters, promoted: PromotedWindow, policy: WindowPolicy) -> Quarter | None:
    """The record of the quarter that a window begins in; made if live would still keep it; None when it is too old for that."""
    start_ms = promoted.span.start_ms - promoted.span.start_ms % QUARTER_MS
    found = quarters.get(start_ms)
    closed_ms = state.closed_ms[Window.QUARTER]
    if found is not None or closed_ms == NEVER_MS or start_ms + QUARTER_MS <= closed_ms - policy.kept_ms:
        return found
    state.oldest_quarter_ms = min(state.oldest_quarter_ms, start_ms)
    state.newest_quarter_ms = max(state.newest_quarter_ms, start_ms)
    return Quarter(start_ms)


def _slot(promoted: PromotedWindow) -> int:
    """Where `window_closing` keeps what was published of the window."""
    if promoted.window is Window.MINUTE:
        return promoted.span.start_ms % QUARTER_MS // MINUTE_MS
    return _MINUTES + promoted.window - 1

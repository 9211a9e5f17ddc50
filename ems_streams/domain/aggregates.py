"""State of one device's statistics: what every message costs is here, the closing of windows is in `window_closing`.

A message is appended to the samples of the minutes that are still open, and nothing else is done with it. When a minute closes, its
samples move into the record of their quarter of an hour (`quarter`), from which all windows are calculated. So an event touches one
place of memory, and a window depends on the set of its messages only: neither on their order nor on repetitions. Only of a device that floods us it depends on more, see below.

`DeviceAggregates`, `fold` and `fold_usual` are compiled where there is a C compiler (`_device.pyx`); what stands here is what they do, and
does it where there is none.

The total over all time is the base (every sample that has left `open`) with what is still open, when somebody reads it.

What no window takes counts in the total all the same:

- an event further behind the watermark than the correction horizon (`late_events`; the agent puts it on the topic of late records);
- one of a device that floods us, and harms itself only: beyond `OPEN_BYTES_MAX` of samples in open minutes (likewise), or `QUARTER_BYTES_MAX` in a quarter of an hour (`late_events`, and no record of it, which is not at hand any more).
  Which of its messages windows have depends on when was committed;
- an event more than `FUTURE_TOLERANCE_MS` ahead of its arrival (`future_events`): a device whose clock runs ahead cannot close the windows
  of the present.
"""

import contextlib
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ems_streams.domain.accumulators import Accumulators
from ems_streams.domain.fold_outcome import FUTURE_TOLERANCE_MS, NEVER_MS, NOT_YET_MS, OPEN_BYTES_MAX, RECENT_IDENTITIES, Outcome
from ems_streams.domain.quarter import Point
from ems_streams.domain.recent_identities import remember
from ems_streams.domain.samples import append, ordered
from ems_streams.domain.section import accumulators_of, add_samples, new_section
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import Window, WindowPolicy

_KIND: Final = "device aggregates"


class SourceRecord(Protocol):
    """What is asked of a Kafka record."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class DeviceAggregates:
    """State of one device; mutable, and only `fold` and `window_closing` may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of the newest message when a minute was opened or fell due, like `site_id` and `device_type`.
        names: Every metric name the device ever had, with its number in samples and sections; devices may share them.
        base: Section of every sample that is in no open minute.
        open: Samples of open minutes, in the order of arrival as long as they are few.
        late: Samples of closed minutes that `settle` has not seen yet; empty between batches.
        recent: `recent_identities` of messages with ids, and of those in no window.
        open_from_ms: Start of the first open minute that has a sample, `NOT_YET_MS` when none has.
        newest_ms: Greatest event time.
        watermark_ms: What windows close by: the greatest event time, or what ticks have made of it.
        closed_ms: By kind of window: every window that ends by then is closed.
        oldest_quarter_ms: Start of the first quarter that there may be a record of; `NOT_YET_MS` before there is any.
        newest_quarter_ms: Start of the last one.
        next_power: First power value behind the closed minutes, as it was known when they closed; None when there was none.
        next_register: The same of the energy register.
        last_register: Last reading in a quarter that is gone.
        last_offset: Offset of the last record that was folded; -1 before the first.
        arrived_ms: Kafka timestamp of the last record.
        revision: Number of messages taken in, repeated ones included until their minute closes.
        late_events: Messages beyond the correction horizon, and those of a flood that no window takes.
        duplicate_events: Messages that were dropped because they had been there before.
        future_events: Messages too far ahead of their arrival.
        left_out_values: Values of metrics beyond `MAX_METRICS_PER_DEVICE`; in no statistic.
    """

    __slots__ = (
        "arrived_ms",
        "base",
        "closed_ms",
        "device_id",
        "device_type",
        "duplicate_events",
        "future_events",
        "last_offset",
        "last_register",
        "late",
        "late_events",
        "left_out_values",
        "names",
        "newest_ms",
        "newest_quarter_ms",
        "next_power",
        "next_register",
        "oldest_quarter_ms",
        "open",
        "open_from_ms",
        "recent",
        "revision",
        "serial_number",
        "site_id",
        "watermark_ms",
    )

    def __init__(self, serial_number: str, device_id: int = 0, site_id: int = 0, device_type: str = "UNKNOWN") -> None:
        self.serial_number = serial_number
        self.device_id = device_id
        self.site_id = site_id
        self.device_type = device_type
        self.names: dict[str, int] = {}
        self.base = new_section(0)
        self.open = bytearray()
        self.late = bytearray()
        self.recent = bytearray()
        self.open_from_ms = NOT_YET_MS
        self.newest_ms = NEVER_MS
        self.watermark_ms = NEVER_MS
        self.closed_ms: tuple[int, ...] = (NEVER_MS,) * len(Window)
        self.oldest_quarter_ms = NOT_YET_MS
        self.newest_quarter_ms = NEVER_MS
        self.next_power: Point | None = None
        self.next_register: Point | None = None
        self.last_register: Point | None = None
        self.last_offset = -1
        self.arrived_ms = NEVER_MS
        self.revision = 0
        self.late_events = 0
        self.duplicate_events = 0
        self.future_events = 0
        self.left_out_values = 0

    @property
    def metric_names(self) -> Sequence[str]:
        """Metric names by number."""
        return tuple(self.names)


def fold(  # noqa: PLR0917 - the hottest call of all, which names would make slower
    state: DeviceAggregates, record: TelemetryRecord, identity: bytes, offset: int, arrived_ms: int, policy: WindowPolicy
) -> Outcome:
    """Take one message into the state, in place.

    Records of a device come in the order of their offsets, each offset once: who calls drops replays. Event times may come
    in any order.

    Args:
        state: Of the record's device.
        record: Valid record.
        identity: `identifiers.telemetry_identity` of the record.
        offset: Of the record in its partition.
        arrived_ms: The record's own Kafka timestamp.
        policy: When windows close.
    """
    state.last_offset = offset
    state.arrived_ms = arrived_ms
    time_ms = record.timestamp_ms
    # What is recognised by its bytes has the same time when it comes again, and is found among its window's samples.
    if record.message_id is not None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.duplicate_events += 1
        return Outcome.REPEATED
    state.revision += 1
    if time_ms > state.newest_ms:
        if time_ms > arrived_ms + FUTURE_TOLERANCE_MS:
            return _outside(state, record, identity, Outcome.FOLDED)
        state.newest_ms = time_ms
        if time_ms > state.watermark_ms:
            state.watermark_ms = time_ms
    elif time_ms < state.watermark_ms - policy.horizon_ms:
        # By the watermark, and not by what was closed: how far settling has come depends on when Kafka is committed to.
        return _outside(state, record, identity, Outcome.LATE)
    if time_ms < state.closed_ms[0]:
        return _correct(state, record, identity, policy)
    return _keep_open(state, record, identity, policy)


def _keep_open(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, policy: WindowPolicy) -> Outcome:
    """A message of a minute that is open."""
    if record.timestamp_ms < state.open_from_ms:
        state.open_from_ms = record.timestamp_ms - record.timestamp_ms % MINUTE_MS
        _identify(state, record)
    is_due = state.watermark_ms >= state.open_from_ms + MINUTE_MS + policy.lateness_ms[0]
    size = len(state.open)
    # Of what is due most leaves with this very commit, until which only so much may come.
    if size >= OPEN_BYTES_MAX and (not is_due or size >= 2 * OPEN_BYTES_MAX):
        return _outside(state, record, identity, Outcome.LATE)
    left_out = append(state.open, record, identity, state.names)
    if left_out:
        state.left_out_values += left_out
    if size < OPEN_BYTES_MAX // 2 <= len(state.open) or size < OPEN_BYTES_MAX <= len(state.open):
        _drop_repeated(state)
    if not is_due:
        return Outcome.FOLDED
    # Seldom enough to cost nothing, and a device that never pauses follows the registry all the same.
    _identify(state, record)
    return Outcome.DUE


def _identify(state: DeviceAggregates, record: TelemetryRecord) -> None:
    """Take over which device of which site it is, as its newest message has it."""
    if record.timestamp_ms == state.newest_ms:
        state.device_id, state.site_id, state.device_type = record.device_id, record.site_id, record.device_type


def _correct(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, policy: WindowPolicy) -> Outcome:
    """A message of a closed minute."""
    if record.timestamp_ms < state.watermark_ms - policy.horizon_ms:
        return _outside(state, record, identity, Outcome.LATE)
    if len(state.late) >= OPEN_BYTES_MAX:
        return _outside(state, record, identity, Outcome.LATE)
    state.left_out_values += append(state.late, record, identity, state.names)
    return Outcome.DUE


def _drop_repeated(state: DeviceAggregates) -> None:
    """A message that is sent again and again is many samples until its minute closes."""
    arrived = ordered(state.open)
    state.open = bytearray(arrived.data)
    state.duplicate_events += arrived.repeated


def _outside(state: DeviceAggregates, record: TelemetryRecord, identity: bytes, outcome: Outcome) -> Outcome:
    """A message that no window takes; one of the last few of them is recognised when it is repeated."""
    if record.message_id is None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.revision -= 1
        state.duplicate_events += 1
        return Outcome.REPEATED
    if outcome is Outcome.LATE:
        state.late_events += 1
    else:
        state.future_events += 1
    sample = bytearray()
    state.left_out_values += append(sample, record, identity, state.names)
    add_samples(state.base, sample)
    return outcome


def fold_usual(  # noqa: PLR0917 - as `fold`
    records: Sequence[SourceRecord],
    events: Sequence[object],
    at: int,
    changed: Mapping[bytes, object],
    policy: WindowPolicy,
    due: list[bytes],
) -> int:
    """Fold messages as far as they are usual ones: those of devices that have an open minute and have changed since the last commit.

    It is there for its speed only, so that it may leave as much to its caller as it likes; this one, which is not compiled, leaves all.

    Args:
        records: From one partition, in order.
        events: What each record was decoded to, or the error that says why it was not.
        at: Index of the first record.
        changed: States by key, of which those of other types are left alone.
        policy: When windows close.
        due: Gets the key of a device for each `Outcome.DUE`.

    Returns:
        Index of the first record that is left to the caller: malformed, under the wrong key, too late, or of a device that is not in `changed`,
        has no open minute, or was moved on by a tick. Their number when none is left.
    """
    return at


def thaw(state: DeviceAggregates, section: bytes | bytearray) -> Accumulators:
    """A section as accumulators; the state stays as it is."""
    try:
        return accumulators_of(section, state.names)
    except (IndexError, struct.error) as error:
        raise StateCodecError(_KIND, f"damaged section of {state.serial_number}: {error}") from None


def total(state: DeviceAggregates) -> Accumulators:
    """Statistics over all time, as accumulators of their own."""
    section = bytearray(state.base)
    add_samples(section, ordered(state.open).data)
    return thaw(state, section)


PythonDeviceAggregates, python_fold = DeviceAggregates, fold
if not TYPE_CHECKING and sys.byteorder == "little":  # the compiled ones have the same attributes and signatures
    with contextlib.suppress(ImportError):
        from ems_streams.domain._device import DeviceAggregates, fold, fold_usual  # noqa: F401 - the last one is called by agents

"""What is looked for in alarms, without reading all of each: by state, site, severity and device, newest first."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import Alarm
from ems_streams.domain.events import Severity
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import to_epoch_ms

CLEARED_KEPT_MS: Final = 24 * 3_600_000
"""How long an alarm that is over can still be asked for."""
CLEARED_MAX: Final = 5_000
"""Of a partition; more of them than this are forgotten earlier, the oldest first."""

Place = tuple[int, str]
"""Where an alarm is in the list: minus the time when it was raised, and its id."""


class Entry(NamedTuple):
    """What is looked for in an alarm."""

    alarm_id: str
    rule_id: str
    serial_number: str
    site_id: int
    severity: Severity
    state: AlarmState
    raised_ms: int
    cleared_ms: int | None

    @property
    def place(self) -> Place:
        """Newest first."""
        return -self.raised_ms, self.alarm_id


class _Stored(msgspec.Struct, rename="camel", gc=False):
    alarm_id: str
    rule_id: str
    serial_number: str
    site_id: int
    severity: Severity
    state: AlarmState
    raised_at: datetime
    cleared_at: datetime | None = None


_decode = msgspec.json.Decoder(_Stored).decode


def entry_of(alarm: Alarm) -> Entry:
    """The entry of an alarm."""
    return _entry(alarm)


def entry_in(stored: bytes) -> Entry:
    """The entry of an alarm's JSON; raises `StateCodecError`."""
    try:
        return _entry(_decode(stored))
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateCodecError("alarm", str(error)) from None


def _entry(alarm: Alarm | _Stored) -> Entry:
    return Entry(
        alarm.alarm_id,
        alarm.rule_id,
        alarm.serial_number,
        alarm.site_id,
        alarm.severity,
        alarm.state,
        to_epoch_ms(alarm.raised_at),
        None if alarm.cleared_at is None else to_epoch_ms(alarm.cleared_at),
    )


class AlarmFilter(NamedTuple):
    """Which alarms are wanted; None is no condition."""

    states: frozenset[str] | None = None
    sites: frozenset[int] | None = None
    severities: frozenset[str] | None = None
    serial_number: str | None = None

    def wants(self, entry: Entry) -> bool:
        """Whether an alarm is wanted."""
        return (
            (self.states is None or entry.state in self.states)
            and (self.sites is None or entry.site_id in self.sites)
            and (self.severities is None or entry.severity in self.severities)
            and (self.serial_number is None or entry.serial_number == self.serial_number)
        )


def outlived(entries: Iterable[Entry], now_ms: int) -> list[Entry]:
    """Alarms that are over for so long, or of which there are so many, that they are to be forgotten."""
    over = sorted((entry for entry in entries if entry.cleared_ms is not None), key=lambda entry: (entry.cleared_ms, entry.alarm_id))
    surplus = over[: max(0, len(over) - CLEARED_MAX)]
    return surplus + [entry for entry in over[len(surplus) :] if (entry.cleared_ms or 0) <= now_ms - CLEARED_KEPT_MS]


def is_crowded(entries: Iterable[Entry]) -> bool:
    """Whether so many alarms are over that some have to be forgotten, whatever rests on them."""
    return sum(entry.cleared_ms is not None for entry in entries) > CLEARED_MAX

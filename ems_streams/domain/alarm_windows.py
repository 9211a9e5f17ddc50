"""Closed windows of devices as alarm rules look at them: a part of each record of `device-aggregates`, read without the rest."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from ems_streams.domain.alarm_conditions import Statistic, WindowStatistic
from ems_streams.domain.alarm_plan import Check
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class ClosedWindow(msgspec.Struct, rename="camel", gc=False):
    """Of a device; what else the record says is passed over."""

    serial_number: str
    device_id: _Id
    site_id: _Id
    device_type: str
    window: str
    window_start: _Time
    window_end: _Time
    revision: int
    metrics: dict[str, dict[str, float | None]]
    energy_kwh: float | None = None

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.serial_number.encode()

    @property
    def version(self) -> tuple[int, int]:
        """What orders the windows of a kind, and the revisions of each."""
        return to_epoch_ms(self.window_start), self.revision

    def values(self, checks: Iterable[Check]) -> dict[str, float | None]:
        """What each check looks at, by its rule; None where the window has no such thing."""
        return {check.rule_id: self._value(check) for check in checks}

    def _value(self, check: Check) -> float | None:
        condition = check.rule.condition
        assert isinstance(condition, WindowStatistic), "plans have only those under windows"
        if condition.statistic is Statistic.ENERGY_KWH:
            return self.energy_kwh
        return self.metrics.get(condition.metric or "", {}).get(condition.statistic)


_decode = msgspec.json.Decoder(ClosedWindow).decode


def decode_closed_window(value: bytes | None) -> ClosedWindow:
    """The window of a record's value; raises `MalformedError`."""
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedError("invalid_window", f"{error}; expected a record of device-aggregates") from None

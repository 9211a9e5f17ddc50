"""Maintenance windows: times in which people are not told of devices that are worked on. What happens to the devices is recorded all the same.

A window is in every partition of `maintenance-windows`, so that each partition's agent decides by what it has read itself.
"""

from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple, Self

import orjson
from pydantic import Field, StringConstraints, ValidationError, model_validator

from ems_streams.domain.events import Event, PositiveId, SerialNumber, Time, decode, malformed
from ems_streams.domain.refusals import shown
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError

SCOPE_MAX: Final = 1000
"""Devices, sites or types in one window; more are several windows."""
KEPT_MS: Final = 7 * 86_400_000
"""How long a window that is over is remembered, for changes that are read late."""
ID_PREFIX: Final = "mw-"

WindowId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
DeviceType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
WindowText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class MaintenanceWindow(Event):
    """A record of `maintenance-windows`; the key is the window's id, the last record of a key counts.

    Attributes:
        window_id: Made of what the window says when nobody gives one, so that the same request twice is one window.
        devices: Serial numbers; with `sites` and `device_types`, a device is in the window when any of them names it.
        starts_at: From when on.
        ends_at: Until when; not included.
        reason: In words.
        created_by: Who set it.
    """

    window_id: WindowId = ""
    devices: Annotated[tuple[SerialNumber, ...], Field(max_length=SCOPE_MAX)] = ()
    sites: Annotated[tuple[PositiveId, ...], Field(max_length=SCOPE_MAX)] = ()
    device_types: Annotated[tuple[DeviceType, ...], Field(max_length=SCOPE_MAX)] = ()
    starts_at: Time
    ends_at: Time
    reason: WindowText
    created_by: WindowText

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and "windowId" not in data and not data.get("window_id"):
            try:
                said = orjson.dumps(data, option=orjson.OPT_SORT_KEYS, default=str)
            except TypeError as error:
                # Also of fields that nobody knows: an id is made of all that was said.
                raise ValueError(f"expected numbers of up to 64 bits and values that are not nested deeply: {error}") from None
            return {**data, "windowId": ID_PREFIX + blake2b(said, digest_size=6).hexdigest()}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.devices or self.sites or self.device_types):
            raise ValueError("expected at least one of devices, sites and deviceTypes")
        if self.ends_at <= self.starts_at:
            raise ValueError("expected endsAt after startsAt")
        return self

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.window_id.encode()


_WIRE_NAMES: Final = tuple(sorted(str(each.alias) for each in MaintenanceWindow.model_fields.values()))

decode_window = partial(decode, MaintenanceWindow)
"""The window of a record's value; raises `MalformedError`."""


def window_of(fields: dict[str, Any]) -> MaintenanceWindow:
    """The window of what somebody asks for; raises `MalformedError`, which names field, value and expectation."""
    unknown = sorted(fields.keys() - set(_WIRE_NAMES))
    if unknown:
        raise MalformedError("unknown_field", f"{unknown[0][:80]}: there is no such field; expected some of {', '.join(_WIRE_NAMES)}")
    for name in ("startsAt", "endsAt"):
        if name in fields and not isinstance(fields[name], str):
            raise MalformedError("invalid_field", f"{name}={shown(fields[name])}: expected an ISO-8601 time with its zone")
    try:
        return MaintenanceWindow.model_validate_json(orjson.dumps(fields))
    except ValidationError as error:
        raise malformed(error) from None


class Device(NamedTuple):
    """What decides which windows a device is in."""

    serial_number: str
    site_id: int
    device_type: str | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A window made ready to be asked."""

    window: MaintenanceWindow
    starts_ms: int
    ends_ms: int
    devices: frozenset[str]
    sites: frozenset[int]
    device_types: frozenset[str]

    def covers(self, device: Device) -> bool:
        return device.serial_number in self.devices or device.site_id in self.sites or device.device_type in self.device_types


@dataclass(slots=True)
class MaintenanceWindows:
    """All windows that are not long over; the state of a partition, and of whoever shows them."""

    by_id: dict[str, _Ready] = field(default_factory=dict)

    def put(self, window: MaintenanceWindow) -> None:
        """Take a window in, in place of what had its id."""
        self.by_id[window.window_id] = _Ready(
            window,
            to_epoch_ms(window.starts_at),
            to_epoch_ms(window.ends_at),
            frozenset(window.devices),
            frozenset(window.sites),
            frozenset(window.device_types),
        )

    def remove(self, window_id: str) -> None:
        """Forget a window."""
        self.by_id.pop(window_id, None)

    def forget_old(self, now_ms: int) -> None:
        """Forget what is long over."""
        self.by_id = {window_id: each for window_id, each in self.by_id.items() if each.ends_ms > now_ms - KEPT_MS}

    def active(self, device: Device, at_ms: int) -> MaintenanceWindow | None:
        """The window that a device is in at a time; of several the one that ends last."""
        found = [each for each in self.by_id.values() if each.starts_ms <= at_ms < each.ends_ms and each.covers(device)]
        return max(found, key=lambda each: (each.ends_ms, each.window.window_id)).window if found else None

    def free_from_ms(self, device: Device, at_ms: int) -> int:
        """The first time from `at_ms` on at which a device is in no window, whatever windows follow each other."""
        while (window := self.active(device, at_ms)) is not None:
            at_ms = to_epoch_ms(window.ends_at)
        return at_ms

    def encode(self) -> bytes:
        """As a JSON list of windows, in the order of their ids."""
        return b"[" + b",".join(self.by_id[window_id].window.encode() for window_id in sorted(self.by_id)) + b"]"


def decode_windows(data: bytes) -> MaintenanceWindows:
    """Of what `encode` gives; raises `StateCodecError`."""
    windows = MaintenanceWindows()
    try:
        for each in orjson.loads(data):
            windows.put(MaintenanceWindow.model_validate(each))
    except (ValueError, TypeError) as error:
        raise StateCodecError("maintenance windows", str(error)) from None
    return windows


def window_view(window: MaintenanceWindow) -> dict[str, Any]:
    """The window as a device shows it that is in one."""
    return {
        "windowId": window.window_id,
        "until": window.model_dump(mode="json", by_alias=True)["endsAt"],
        "reason": window.reason,
    }

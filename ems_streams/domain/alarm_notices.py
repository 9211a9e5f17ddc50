"""Which steps in the life of alarms people are told of: each one, unless the device is under maintenance.

In a maintenance window nothing is told; afterwards people are told how an alarm stands, if that is not what they know. Of an alarm that was raised and is
over before they could be told they hear nothing. Everything depends on the times of the events and of heartbeats, and on no clock.
"""

from dataclasses import dataclass, field
from typing import Final

import orjson
from pydantic import ValidationError

from ems_streams.domain.alarm_words import notification_of
from ems_streams.domain.alarms import AlarmEvent
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.events import Notification
from ems_streams.domain.maintenance import Device, MaintenanceWindows
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import to_epoch_ms

_AFTER_MAINTENANCE: Final = "This was not told before because of maintenance window {}."
_KIND: Final = "alarm notices"


@dataclass(slots=True)
class AlarmNotices:
    """What people know of the alarms of a device.

    Attributes:
        known: Ids of alarms that they know to be there.
        held_back: By id, the last step of each alarm that they do not know of, and the maintenance window because of which.
        held_ms: Time of the last of those.
    """

    known: set[str] = field(default_factory=set)
    held_back: dict[str, tuple[AlarmEvent, str]] = field(default_factory=dict)
    held_ms: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be remembered."""
        return not (self.known or self.held_back)


def on_alarm_event(notices: AlarmNotices, event: AlarmEvent, recorded_ms: int, windows: MaintenanceWindows) -> list[Notification]:
    """Take a step in the life of an alarm in; gives what people are told.

    Args:
        notices: Of the device; changed in place.
        event: The step.
        recorded_ms: When it was recorded: a device whose clock is ahead must not be in a window that is not there yet.
        windows: All maintenance windows.
    """
    at_ms = min(to_epoch_ms(event.timestamp), recorded_ms)
    window = windows.active(_device(event), at_ms)
    if window is not None:
        notices.held_back[event.alarm_id] = (event, window.window_id)
        notices.held_ms = max(notices.held_ms, at_ms)
        return []
    _, window_id = notices.held_back.pop(event.alarm_id, (None, ""))
    return _tell(notices, event, window_id)


def due_ms(notices: AlarmNotices, windows: MaintenanceWindows) -> int:
    """From when on `tick` has something to do if nothing more happens; `NEVER_MS` when it never has."""
    # A device may have moved between its alarms, and the windows of one place may end long before those of the other.
    places = {_device(event) for event, _ in notices.held_back.values()}
    return min((windows.free_from_ms(place, notices.held_ms) for place in places), default=NEVER_MS)


def tick(notices: AlarmNotices, now_ms: int, windows: MaintenanceWindows) -> list[Notification]:
    """Let time go on for a device; gives what people are told after maintenance, the oldest alarm first."""
    if due_ms(notices, windows) > now_ms:
        return []
    told: list[Notification] = []
    for event, window_id in sorted(notices.held_back.values(), key=lambda held: (held[0].raised_at, held[0].alarm_id)):
        # Windows follow each other, and a device may have moved between its alarms.
        if windows.active(_device(event), now_ms) is None:
            del notices.held_back[event.alarm_id]
            told += _tell(notices, event, window_id)
    return told


def _tell(notices: AlarmNotices, event: AlarmEvent, window_id: str) -> list[Notification]:
    known = event.alarm_id in notices.known
    if event.active:
        notices.known.add(event.alarm_id)
    else:
        notices.known.discard(event.alarm_id)
        if not known and window_id:
            return []
    if not window_id:
        return [notification_of(event)]
    return [notification_of(event, _AFTER_MAINTENANCE.format(window_id), {"maintenanceWindowId": window_id})]


def _device(event: AlarmEvent) -> Device:
    return Device(event.serial_number, event.site_id, event.device_type)


def encode(notices: AlarmNotices) -> bytes:
    """As a JSON list."""
    held = [(orjson.Fragment(event.encode()), window_id) for event, window_id in notices.held_back.values()]
    return orjson.dumps((sorted(notices.known), held, notices.held_ms))


def decode(data: bytes) -> AlarmNotices:
    """Of what `encode` gives; raises `StateCodecError`."""
    try:
        known, held, held_ms = orjson.loads(data)
        events = [(AlarmEvent.model_validate_json(orjson.dumps(event)), str(window_id)) for event, window_id in held]
        return AlarmNotices(
            {str(each) for each in known}, {event.alarm_id: (event, window_id) for event, window_id in events}, int(held_ms)
        )
    except (ValidationError, ValueError, TypeError) as error:
        raise StateCodecError(_KIND, str(error).replace("\n", " ")) from None

"""Which changes of a device's status people are told of: each one, unless it is flapping or under maintenance.

- A device that flaps is told of once, and once more when it is still. An error is told all the same, once in a time of flapping.
- In a maintenance window nothing is told. After it people are told of the status, if it is another one than they know.

Everything depends on the times of the events and of heartbeats, and on no clock.
"""

from dataclasses import dataclass
from typing import Any, Final

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.events import DeviceStatus, Notification, StatusEvent
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.maintenance import Device, MaintenanceWindows
from ems_streams.domain.notifications import flapping_ended, flapping_started, of_transition
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms, to_epoch_ms

_AFTER_MAINTENANCE: Final = "This was not told before because of maintenance window {}."


@dataclass(slots=True)
class DeviceNotices:
    """What people know of a device.

    Attributes:
        last: Its last transition.
        score: For flapping, as of `scored_ms`.
        scored_ms: Time of the last transition; never goes back.
        first_ms: Of the transitions that made the score, the first one.
        changes: Transitions since then.
        told_status: What people were told last.
        flapping_since_ms: While it is flapping: since when.
        flapping_told: Whether people know.
        flapping_from: Sequence of the transition with which it began.
        error_told: Whether an error was told while it is flapping.
        held_back_by: Maintenance window for which something is not told yet.
    """

    last: StatusEvent
    score: float = 0.0
    scored_ms: int = 0
    first_ms: int = 0
    changes: int = 0
    told_status: DeviceStatus = DeviceStatus.UNKNOWN
    flapping_since_ms: int | None = None
    flapping_told: bool = False
    flapping_from: int = 0
    error_told: bool = False
    held_back_by: str | None = None

    @property
    def device(self) -> Device:
        """What decides which maintenance windows it is in."""
        return Device(self.last.serial_number, self.last.site_id, self.last.device_type)

    @property
    def changes_while_flapping(self) -> int:
        """Transitions since it began to flap, with the one that began it; means nothing while it is not flapping."""
        return self.last.sequence - self.flapping_from + 1


def on_transition(
    known: DeviceNotices | None, event: StatusEvent, recorded_ms: int, windows: MaintenanceWindows, policy: FlappingPolicy
) -> tuple[DeviceNotices, list[Notification]]:
    """Take a transition in; gives what is known now, and what people are told.

    Args:
        known: Of the device; changed in place. None before its first transition.
        event: The transition.
        recorded_ms: When it was recorded: a device whose clock is ahead must not be in a window that is not there yet.
        windows: All maintenance windows.
        policy: What is flapping.
    """
    notices = known or DeviceNotices(event)
    at_ms = min(to_epoch_ms(event.timestamp), recorded_ms)
    notices.last = event
    _score(notices, at_ms, policy)
    window = windows.active(notices.device, at_ms)
    if window is not None:
        notices.held_back_by = window.window_id
        return notices, []
    # What was held back before is said by this one.
    notices.held_back_by = None
    told = _tell(notices)
    return notices, [] if told is None else [told]


def _score(notices: DeviceNotices, at_ms: int, policy: FlappingPolicy) -> None:
    elapsed_ms = at_ms - notices.scored_ms
    if notices.flapping_since_ms is None and (not notices.changes or policy.still_after_ms(notices.score) <= elapsed_ms):
        # What was before is long ago.
        notices.first_ms, notices.changes = at_ms, 0
    notices.score = policy.changed(notices.score, elapsed_ms)
    notices.scored_ms = max(notices.scored_ms, at_ms)
    notices.changes += 1
    if notices.flapping_since_ms is None and policy.is_flapping(notices.score):
        notices.flapping_since_ms = notices.scored_ms
        notices.flapping_from = notices.last.sequence
        notices.flapping_told = notices.error_told = False


def _tell(notices: DeviceNotices) -> Notification | None:
    """What is to be said of the last transition outside of any window."""
    event = notices.last
    if notices.flapping_since_ms is None:
        notices.told_status = event.new_status
        return of_transition(event)
    if not notices.flapping_told:
        notices.flapping_told = True
        notices.error_told = event.new_status is DeviceStatus.ERROR
        notices.told_status = event.new_status
        return flapping_started(event, notices.changes, from_epoch_ms(notices.first_ms))
    if event.new_status is DeviceStatus.ERROR and not notices.error_told:
        notices.error_told = True
        notices.told_status = event.new_status
        return of_transition(event, "It is flapping.")
    return None


def due_ms(notices: DeviceNotices, windows: MaintenanceWindows, policy: FlappingPolicy) -> int:
    """From when on `tick` has something to do if nothing more happens; `NEVER_MS` when it never has."""
    still_ms = _still_ms(notices, policy)
    if notices.held_back_by is not None:
        still_ms = min(still_ms, notices.scored_ms)
    return still_ms if still_ms == NEVER_MS else windows.free_from_ms(notices.device, still_ms)


def tick(notices: DeviceNotices, now_ms: int, windows: MaintenanceWindows, policy: FlappingPolicy) -> list[Notification]:
    """Let time go on for a device; gives what people are told of it, with the times at which it became so."""
    if due_ms(notices, windows, policy) > now_ms or windows.active(notices.device, now_ms) is not None:
        return []
    told = []
    still_ms = _still_ms(notices, policy)
    if still_ms <= now_ms:
        ended = _still(notices, windows.free_from_ms(notices.device, still_ms), policy)
        told = [] if ended is None else [ended]
    if notices.held_back_by is not None:
        overdue = _overdue(notices)
        told += [] if overdue is None else [overdue]
    return told


def _still_ms(notices: DeviceNotices, policy: FlappingPolicy) -> int:
    return NEVER_MS if notices.flapping_since_ms is None else notices.scored_ms + policy.still_after_ms(notices.score)


def _still(notices: DeviceNotices, at_ms: int, policy: FlappingPolicy) -> Notification | None:
    """It is flapping no more; said only to those who know that it was."""
    since_ms = notices.flapping_since_ms
    assert since_ms is not None, "asked for only while it is flapping"
    changes = notices.changes_while_flapping
    told = notices.flapping_told
    notices.flapping_since_ms = None
    notices.flapping_told = notices.error_told = False
    notices.score, notices.changes = policy.reuse, 0
    notices.scored_ms = max(notices.scored_ms, at_ms)
    if not told:
        return None
    notices.held_back_by = None
    notices.told_status = notices.last.new_status
    return flapping_ended(notices.last, changes, from_epoch_ms(since_ms), from_epoch_ms(at_ms))


def _overdue(notices: DeviceNotices) -> Notification | None:
    """After maintenance: how it stands, if people do not know."""
    window_id, notices.held_back_by = notices.held_back_by, None
    if notices.flapping_since_ms is None and notices.last.new_status is notices.told_status:
        return None
    if notices.flapping_since_ms is not None:
        return _tell(notices)
    notices.told_status = notices.last.new_status
    return of_transition(notices.last, _AFTER_MAINTENANCE.format(window_id), {"maintenanceWindowId": window_id})


def flapping_view(notices: DeviceNotices) -> dict[str, Any] | None:
    """The flapping as a device shows it that is flapping; None for one that is not."""
    since_ms = notices.flapping_since_ms
    return None if since_ms is None else {"since": format_epoch_ms(since_ms), "changes": notices.changes_while_flapping}

"""What people are told of the events of a device."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ems_streams.domain.events import DeviceStatus, Notification, NotificationKind, Severity, StatusEvent, format_time
from ems_streams.domain.identifiers import notification_id

_SEVERITIES: Final[dict[DeviceStatus, Severity]] = {
    DeviceStatus.OFFLINE: Severity.WARNING,
    DeviceStatus.ERROR: Severity.CRITICAL,
}

_STATES_IN_WORDS: Final[dict[DeviceStatus, str]] = {
    DeviceStatus.ONLINE: "is online",
    DeviceStatus.OFFLINE: "is offline",
    DeviceStatus.MAINTENANCE: "is under maintenance",
    DeviceStatus.ERROR: "reports an error",
}

_PAST_IN_WORDS: Final[dict[DeviceStatus, str]] = {
    DeviceStatus.UNKNOWN: "It had not been heard of before.",
    DeviceStatus.ONLINE: "It was online before.",
    DeviceStatus.OFFLINE: "It was offline before.",
    DeviceStatus.MAINTENANCE: "It was under maintenance before.",
    DeviceStatus.ERROR: "It had an error before.",
}


_BEFORE_FLAPPING: Final = "Its changes are not told one by one until it is still; an error is."


def of_transition(event: StatusEvent, remark: str = "", data: Mapping[str, Any] | None = None) -> Notification:
    """The notification of a status transition: the same one, with the same id, however often the event is read.

    Args:
        event: The transition.
        remark: A sentence more, at the end of the message.
        data: Members more of the notification's `data`.
    """
    title = f"{event.serial_number} {_STATES_IN_WORDS[event.new_status]}"
    reason = event.reason.strip().rstrip(".")
    return Notification(
        notification_id=notification_id(event.event_id, NotificationKind.STATUS_CHANGE),
        kind=NotificationKind.STATUS_CHANGE,
        severity=_SEVERITIES.get(event.new_status, Severity.INFO),
        serial_number=event.serial_number,
        site_id=event.site_id,
        device_id=event.device_id,
        title=title,
        message=f"{title} (site {event.site_id}): {reason}. {_PAST_IN_WORDS[event.previous_status]}{remark and f' {remark}'}",
        timestamp=event.timestamp,
        data={
            "previousStatus": event.previous_status,
            "newStatus": event.new_status,
            "sequence": event.sequence,
            "eventId": event.event_id,
            "reason": event.reason,
            **({} if event.error_code is None else {"errorCode": event.error_code}),
            **(data or {}),
        },
    )


def flapping_started(event: StatusEvent, changes: int, since: datetime) -> Notification:
    """What people are told once instead of every change, beginning with the change that was one too many.

    Args:
        event: That change.
        changes: How many there were, with it, since `since`.
        since: Time of the first of them.
    """
    title = f"{event.serial_number} is flapping"
    message = f"{title} (site {event.site_id}): {changes} changes of status since {format_time(since)}, the last to {event.new_status}."
    return _about(
        event,
        NotificationKind.FLAPPING_STARTED,
        Severity.WARNING,
        (title, f"{message} {_BEFORE_FLAPPING}"),
        at=event.timestamp,
        facts={"changes": changes, "since": format_time(since)},
    )


def flapping_ended(last: StatusEvent, changes: int, since: datetime, at: datetime) -> Notification:
    """What people are told when a device that was flapping is still.

    Args:
        last: Its last change.
        changes: How many there were while it was flapping.
        since: When that began.
        at: When it was still for long enough.
    """
    title = f"{last.serial_number} is no longer flapping"
    message = (
        f"{title} (site {last.site_id}): it changed its status {changes} times since {format_time(since)} "
        f"and {_STATES_IN_WORDS[last.new_status]} since {format_time(last.timestamp)}."
    )
    severity = _SEVERITIES.get(last.new_status, Severity.INFO)
    facts = {"changes": changes, "since": format_time(since)}
    return _about(last, NotificationKind.FLAPPING_ENDED, severity, (title, message), at=at, facts=facts)


def _about(
    event: StatusEvent, kind: NotificationKind, severity: Severity, words: tuple[str, str], *, at: datetime, facts: dict[str, Any]
) -> Notification:
    return Notification(
        notification_id=notification_id(event.event_id, kind),
        kind=kind,
        severity=severity,
        serial_number=event.serial_number,
        site_id=event.site_id,
        device_id=event.device_id,
        title=words[0],
        message=words[1],
        timestamp=at,
        data={**facts, "status": event.new_status, "sequence": event.sequence, "eventId": event.event_id},
    )

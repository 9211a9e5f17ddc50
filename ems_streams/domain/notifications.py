"""What people are told of the events of a device."""

from typing import Final

from ems_streams.domain.events import DeviceStatus, Notification, NotificationKind, Severity, StatusEvent
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


def of_transition(event: StatusEvent) -> Notification:
    """The notification of a status transition: the same one, with the same id, however often the event is read."""
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
        message=f"{title} (site {event.site_id}): {reason}. {_PAST_IN_WORDS[event.previous_status]}",
        timestamp=event.timestamp,
        data={
            "previousStatus": event.previous_status,
            "newStatus": event.new_status,
            "sequence": event.sequence,
            "eventId": event.event_id,
            "reason": event.reason,
        },
    )

"""What an operator is told of a transition."""

from datetime import UTC, datetime

import orjson
import pytest

from ems_streams.domain.events import DeviceStatus, Notification, NotificationKind, Severity, StatusEvent, decode
from ems_streams.domain.notifications import of_transition


def event(previous: DeviceStatus, new: DeviceStatus, reason: str = "Grid fault.", event_id: str = "e-1") -> StatusEvent:
    return StatusEvent(
        event_id=event_id,
        sequence=3,
        device_id=123,
        serial_number="INV-001",
        site_id=1,
        previous_status=previous,
        new_status=new,  # type: ignore[arg-type]  # tests go through the list of all statuses
        timestamp=datetime(2025, 10, 4, 10, 15, tzinfo=UTC),
        reason=reason,
    )


@pytest.mark.parametrize(
    ("new", "severity", "title"),
    [
        (DeviceStatus.ONLINE, Severity.INFO, "INV-001 is online"),
        (DeviceStatus.MAINTENANCE, Severity.INFO, "INV-001 is under maintenance"),
        (DeviceStatus.OFFLINE, Severity.WARNING, "INV-001 is offline"),
        (DeviceStatus.ERROR, Severity.CRITICAL, "INV-001 reports an error"),
    ],
)
def test_severity_and_title_follow_the_new_status(new: DeviceStatus, severity: Severity, title: str) -> None:
    notification = of_transition(event(DeviceStatus.UNKNOWN, new))
    assert (notification.kind, notification.severity, notification.title) == (NotificationKind.STATUS_CHANGE, severity, title)


def test_the_message_says_what_where_why_and_what_was_before() -> None:
    notification = of_transition(event(DeviceStatus.ONLINE, DeviceStatus.ERROR))
    assert notification.message == "INV-001 reports an error (site 1): Grid fault. It was online before."


def test_the_wire_form() -> None:
    notification = of_transition(event(DeviceStatus.ONLINE, DeviceStatus.OFFLINE, "Last will"))
    assert decode(Notification, notification.encode()) == notification
    assert orjson.loads(notification.encode()) == {
        "notificationId": notification.notification_id,
        "kind": "STATUS_CHANGE",
        "severity": "WARNING",
        "serialNumber": "INV-001",
        "siteId": 1,
        "deviceId": 123,
        "title": "INV-001 is offline",
        "message": "INV-001 is offline (site 1): Last will. It was online before.",
        "timestamp": "2025-10-04T10:15:00Z",
        "data": {"previousStatus": "ONLINE", "newStatus": "OFFLINE", "sequence": 3, "eventId": "e-1", "reason": "Last will"},
    }


def test_the_id_depends_on_the_event_alone() -> None:
    first = of_transition(event(DeviceStatus.ONLINE, DeviceStatus.ERROR))
    assert of_transition(event(DeviceStatus.ONLINE, DeviceStatus.ERROR)) == first
    assert of_transition(event(DeviceStatus.ONLINE, DeviceStatus.ERROR, event_id="e-2")).notification_id != first.notification_id


@pytest.mark.parametrize("previous", DeviceStatus)
@pytest.mark.parametrize("new", [status for status in DeviceStatus if status is not DeviceStatus.UNKNOWN])
def test_every_transition_has_words(previous: DeviceStatus, new: DeviceStatus) -> None:
    notification = of_transition(event(previous, new))
    assert notification.title.startswith("INV-001 ")
    assert notification.message.endswith(" before.")

"""Which topics tell of single devices, and how each is read for people."""

from typing import Final

from ems_streams.domain import timeline
from ems_streams.domain.timeline import Reader
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_EVENTS,
    DEVICE_COMMAND_ACKS,
    DEVICE_COMMAND_EVENTS,
    DEVICE_COMMANDS,
    DEVICE_NOTIFICATIONS,
    DEVICE_REGISTRY,
    DEVICE_STATUS,
    DEVICE_STATUS_REPORTS,
    DEVICE_TELEMETRY,
    DEVICE_TELEMETRY_LATE,
    QUARANTINE,
    dlt_of,
)

READERS: Final[dict[str, Reader]] = {
    DEVICE_TELEMETRY: timeline.read_telemetry,
    DEVICE_STATUS_REPORTS: timeline.read_report,
    DEVICE_STATUS: timeline.read_transition,
    ALARM_EVENTS: timeline.read_alarm,
    ALARM_ACKNOWLEDGEMENTS: timeline.read_acknowledgement,
    DEVICE_COMMANDS: timeline.read_request,
    DEVICE_COMMAND_ACKS: timeline.read_ack,
    DEVICE_COMMAND_EVENTS: timeline.read_step,
    DEVICE_NOTIFICATIONS: timeline.read_notification,
    DEVICE_REGISTRY: timeline.read_entry,
}
"""By topic whose key is the serial number. Windows are left out: `/aggregates` and history show them."""

PUT_ASIDE: Final = frozenset((*(dlt_of(topic) for topic in READERS), QUARANTINE))
"""Where dead letters of a device are."""

TOPICS_OF_A_DEVICE: Final = (*READERS, DEVICE_TELEMETRY_LATE, *sorted(PUT_ASIDE))
"""All that is looked through for a device."""

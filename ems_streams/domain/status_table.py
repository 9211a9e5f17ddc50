"""The status machine as data: every status with every input, and what becomes of it.

What is not in the table stays as it is, and is no transition. Drawn in docs/reference/status-machine.md, which a test holds against this.

A maintenance window is no input: it decides what people are told, not what is so. A last will is a report of `OFFLINE` like any other.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ems_streams.domain.events import DeviceStatus, ReportableStatus

UNKNOWN: Final = DeviceStatus.UNKNOWN
ONLINE: Final = DeviceStatus.ONLINE
OFFLINE: Final = DeviceStatus.OFFLINE
MAINTENANCE: Final = DeviceStatus.MAINTENANCE
ERROR: Final = DeviceStatus.ERROR


class StatusInput(StrEnum):
    """What can happen to a device; as `cause` of a status it is on the wire."""

    REPORTED_ONLINE = "REPORTED_ONLINE"
    REPORTED_OFFLINE = "REPORTED_OFFLINE"
    REPORTED_MAINTENANCE = "REPORTED_MAINTENANCE"
    REPORTED_ERROR = "REPORTED_ERROR"
    TELEMETRY = "TELEMETRY"
    SILENCE = "SILENCE"


INPUT_OF_REPORT: Final[dict[ReportableStatus, StatusInput]] = {
    ONLINE: StatusInput.REPORTED_ONLINE,
    OFFLINE: StatusInput.REPORTED_OFFLINE,
    MAINTENANCE: StatusInput.REPORTED_MAINTENANCE,
    ERROR: StatusInput.REPORTED_ERROR,
}

TRANSITIONS: Final = MappingProxyType[tuple[DeviceStatus, StatusInput], ReportableStatus](
    {
        (UNKNOWN, StatusInput.REPORTED_ONLINE): ONLINE,
        (UNKNOWN, StatusInput.REPORTED_OFFLINE): OFFLINE,
        (UNKNOWN, StatusInput.REPORTED_MAINTENANCE): MAINTENANCE,
        (UNKNOWN, StatusInput.REPORTED_ERROR): ERROR,
        (UNKNOWN, StatusInput.TELEMETRY): ONLINE,
        (ONLINE, StatusInput.REPORTED_OFFLINE): OFFLINE,
        (ONLINE, StatusInput.REPORTED_MAINTENANCE): MAINTENANCE,
        (ONLINE, StatusInput.REPORTED_ERROR): ERROR,
        (ONLINE, StatusInput.SILENCE): OFFLINE,
        (OFFLINE, StatusInput.REPORTED_ONLINE): ONLINE,
        (OFFLINE, StatusInput.REPORTED_MAINTENANCE): MAINTENANCE,
        (OFFLINE, StatusInput.REPORTED_ERROR): ERROR,
        (OFFLINE, StatusInput.TELEMETRY): ONLINE,
        (MAINTENANCE, StatusInput.REPORTED_ONLINE): ONLINE,
        (MAINTENANCE, StatusInput.REPORTED_OFFLINE): OFFLINE,
        (MAINTENANCE, StatusInput.REPORTED_ERROR): ERROR,
        (ERROR, StatusInput.REPORTED_ONLINE): ONLINE,
        (ERROR, StatusInput.REPORTED_OFFLINE): OFFLINE,
        (ERROR, StatusInput.REPORTED_MAINTENANCE): MAINTENANCE,
        (ERROR, StatusInput.SILENCE): OFFLINE,
    }
)
"""A device that reports `MAINTENANCE` is expected to be switched off, so that its silence says nothing; telemetry ends neither that nor an error."""

GRAVITY: Final[dict[DeviceStatus, int]] = {ONLINE: 0, MAINTENANCE: 1, OFFLINE: 2, ERROR: 3}
"""Of two reports of one time the graver one counts."""


def next_status(status: DeviceStatus, happened: StatusInput) -> ReportableStatus | None:
    """What an input makes of a status; None when it stays as it is."""
    return TRANSITIONS.get((status, happened))

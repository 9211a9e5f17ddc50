"""What is counted of alarms: each step of a life, which is rare beside the messages that are looked at for it."""

from itertools import product
from typing import Final

from ems_streams.domain.alarms import Alarm, AlarmEventType
from ems_streams.domain.events import Severity
from ems_streams.metrics import alarms

_EVENTS: Final = {
    AlarmEventType.ALARM_RAISED: "raised",
    AlarmEventType.ALARM_ESCALATED: "escalated",
    AlarmEventType.ALARM_ACKNOWLEDGED: "acknowledged",
    AlarmEventType.ALARM_CLEARED: "cleared",
}
_KINDS: Final = ("threshold", "rateOfChange", "missingData", "windowStatistic")

# There from the start, at zero: the first one that is counted is seen.
for _event, _kind, _severity in product(_EVENTS.values(), _KINDS, Severity):
    alarms.EVENTS.labels(_event, _kind, _severity)


def count_event(alarm: Alarm, event_type: AlarmEventType) -> None:
    """An alarm has taken a step."""
    alarms.EVENTS.labels(_EVENTS[event_type], alarm.kind, alarm.severity).inc()

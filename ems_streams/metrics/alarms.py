"""Metrics of the agent `alarms`: what is wrong with the fleet, and how that comes and goes."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, Label, Process

_WORKER: Final = frozenset({Process.WORKER})

ALARMS: Final = DEFINITIONS.gauge(
    "ems_alarms",
    "Alarms of the worker's partitions that are not cleared, by state (`raised`, `acknowledged`) and severity, escalated ones by what they have become",
    _WORKER,
    Label.STATE,
    Label.SEVERITY,
)
EVENTS: Final = DEFINITIONS.counter(
    "ems_alarm_events_total",
    "Steps in the life of alarms, by kind of the rule's condition and severity; again after a rollback",
    _WORKER,
    Label.EVENT,
    Label.KIND,
    Label.SEVERITY,
)

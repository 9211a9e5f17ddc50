"""Metrics of the agent `commands`: how many there are, how they end, how long each step takes, and the MQTT sessions that they go by."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, Label, Process

_WORKER: Final = frozenset({Process.WORKER})
_STEPS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""From a broker that answers at once to a device that is asleep for an hour."""

OPEN: Final = DEFINITIONS.gauge(
    "ems_commands_open",
    "Commands that have no end yet, by state: `requested` wait for their turn or for the MQTT broker, `published` for the broker's word, "
    "`delivered` for the device's (also those of which the broker's word is lost), `accepted` for its result",
    _WORKER,
    Label.STATE,
)
COMMANDS: Final = DEFINITIONS.counter(
    "ems_commands_total",
    "Commands by outcome: `requested` is every one, the others are ends: `completed`, `failed`, `rejected`, `expired`, `cancelled`; one that is answered "
    "after we had given it up counts in both; again after a rollback",
    _WORKER,
    Label.OUTCOME,
)
SECONDS: Final = DEFINITIONS.histogram(
    "ems_command_seconds", "From the request to the end, by that end (see `ems_commands_total`)", _WORKER, Label.OUTCOME, buckets=_STEPS_S
)
STEP_SECONDS: Final = DEFINITIONS.histogram(
    "ems_command_step_seconds",
    "From the step before to this one: `published` and `delivered` are of the broker, `accepted` and the ends of the device, `requested` is one that the "
    "broker refused and that waits again",
    _WORKER,
    Label.STEP,
    buckets=_STEPS_S,
)
DELIVERIES: Final = DEFINITIONS.counter(
    "ems_command_deliveries_total",
    "Exchanges with the MQTT broker by outcome: `taken`, `refused`, or `unknown` (the broker may have it or not, so it is not sent again)",
    _WORKER,
    Label.OUTCOME,
)
SESSIONS: Final = DEFINITIONS.gauge(
    "ems_command_sessions", "MQTT sessions that commands go by, one for each partition of the worker", _WORKER
)
SESSIONS_CONNECTED: Final = DEFINITIONS.gauge("ems_command_sessions_connected", "Those of them that are connected", _WORKER)

"""Metrics of the channels by which people are notified."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, WORK_S, Label, Process

_NOTIFIER: Final = frozenset({Process.NOTIFIER})

RUNNING: Final = DEFINITIONS.gauge(
    "ems_channel_running",
    "1 while a channel that this process has been given is restored and reads; no series elsewhere",
    _NOTIFIER,
    Label.CHANNEL,
)
ATTEMPTS: Final = DEFINITIONS.counter(
    "ems_channel_attempts_total", "Attempts to send a message, by outcome: `delivered` or `failed`", _NOTIFIER, Label.CHANNEL, Label.OUTCOME
)
ATTEMPT_SECONDS: Final = DEFINITIONS.histogram(
    "ems_channel_attempt_seconds", "Time of an attempt, successful or not", _NOTIFIER, Label.CHANNEL, buckets=WORK_S
)
NOTIFICATIONS: Final = DEFINITIONS.counter(
    "ems_channel_notifications_total",
    "Notifications that a channel is done with, by outcome: `delivered` or `dead_letter`; a digest has several",
    _NOTIFIER,
    Label.CHANNEL,
    Label.OUTCOME,
)
OPEN_CHAINS: Final = DEFINITIONS.gauge("ems_channel_open_chains", "Notifications taken in and not done with", _NOTIFIER, Label.CHANNEL)
LAG: Final = DEFINITIONS.gauge("ems_channel_lag_records", "Notifications not read yet", _NOTIFIER, Label.CHANNEL)
BREAKER_STATE: Final = DEFINITIONS.gauge(
    "ems_channel_breaker_state", "State of a channel's circuit breaker: 1 for the one it is in", _NOTIFIER, Label.CHANNEL, Label.STATE
)
RESTARTS: Final = DEFINITIONS.counter(
    "ems_channel_restarts_total", "Times that a channel started over from what is durable", _NOTIFIER, Label.CHANNEL
)

"""Notifications, the pipeline and health."""

from typing import Literal

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.events import Notification
from ems_streams.gateway.answers.base import Answer, Count, Covered, Moment, NextCursor


class NotificationsPage(Answer):
    """Notifications, newest first.

    Attributes:
        cursor: Where the page begins: as `since` of the WebSocket it goes on exactly from there.
    """

    as_of: Moment
    cursor: str
    next_cursor: NextCursor
    notifications: list[Notification]


class HealthCheck(Answer):
    """A check; who may not see every site is shown no details.

    Attributes:
        for_s: Since how many seconds it has been so.
        required: False for one that is shown and keeps nothing from being well.
    """

    ok: bool
    detail: str = ""
    for_s: float = 0
    required: bool = True


class WorkerView(Answer):
    """A worker; who may not see every site is not told how it is.

    Attributes:
        partitions: Those that it has.
        live: Whether it answers.
        ready: Whether it can do its work; null while it does not say.
        breaker: Its circuit breaker before Kafka.
        checks: Those of its readiness, by name.
    """

    url: str
    partitions: list[int]
    live: bool
    ready: bool | None = None
    breaker: BreakerState | None = None
    checks: dict[str, HealthCheck] | None = None


class Lag(Answer):
    """Messages that are not durable in the workers that answer.

    Attributes:
        messages: Of telemetry.
        by_topic: Of all that workers read.
        by_partition: Of telemetry.
    """

    messages: Count
    by_topic: dict[str, Count]
    by_partition: dict[str, Count]


class PipelineView(Covered):
    """How fast telemetry comes in, and who works on it.

    Attributes:
        events_per_second: Over the last seconds; null while it is not known.
        events_total: Ever written to `device-telemetry`.
        lag: Null while no worker says, and for who may not see every site.
    """

    events_per_second: float | None
    events_total: Count | None
    lag: Lag | None = None
    workers: list[WorkerView]


class HealthView(Answer):
    """The checks of the gateway, by name."""

    status: Literal["ok", "failing"]
    checks: dict[str, HealthCheck]

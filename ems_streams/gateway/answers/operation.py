"""Notifications, the pipeline and health."""

from typing import Literal

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


class WorkerView(Answer):
    """A worker.

    Attributes:
        partitions: Those that it has.
        live: Whether it answers.
    """

    url: str
    partitions: list[int]
    live: bool


class PipelineView(Covered):
    """How fast telemetry comes in, and who works on it.

    Attributes:
        events_per_second: Over the last seconds; null while it is not known.
        events_total: Ever written to `device-telemetry`.
    """

    events_per_second: float | None
    events_total: Count
    workers: list[WorkerView]


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


class HealthView(Answer):
    """The checks of the gateway, by name."""

    status: Literal["ok", "failing"]
    checks: dict[str, HealthCheck]

"""Alarms and maintenance windows."""

from typing import Literal

from pydantic import ConfigDict

from ems_streams.domain.alarms import Alarm, Author, Comment
from ems_streams.domain.maintenance import MaintenanceWindow
from ems_streams.gateway.answers.base import Answer, Covered, NextCursor


class AlarmView(Alarm):
    """An alarm; what has not happened is null."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class AlarmsPage(Covered):
    """Alarms, newest first."""

    alarms: list[AlarmView]
    next_cursor: NextCursor


class AcknowledgementBody(Answer):
    """Who takes note of an alarm, and what they say.

    Attributes:
        by: Who; `api` when nobody is named.
        comment: For those who read the alarm.
    """

    model_config = ConfigDict(extra="forbid")

    by: Author = "api"
    comment: Comment | None = None


class MaintenanceWindowView(MaintenanceWindow):
    """A maintenance window.

    Attributes:
        active: Whether it is now.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    active: bool


class MaintenanceWindows(Answer):
    """Maintenance windows, by their beginning."""

    windows: list[MaintenanceWindowView]


class EndedWindow(Answer):
    """A window that is over now."""

    window_id: str
    ended: Literal[True]

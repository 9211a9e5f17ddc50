"""What several command groups do with their options: times, durations, who asks, and running with the settings."""

import getpass
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.settings import Settings

T = TypeVar("T")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 3650 * 86_400


def run_with_settings(process: str, work: "Callable[[Settings], Awaitable[T]]") -> T:
    """Load the settings, send logs where they belong, and run to the end."""
    import uvloop

    from ems_streams.ops.logs import configure_logging
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, process)

    async def running() -> T:
        return await work(settings)

    return uvloop.run(running())


def user_name() -> str:
    """Who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have a number and no name.
        return f"uid-{os.getuid()}"


def time_of(option: str, text: str) -> datetime:
    """An aware time; raises `UsageError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected an ISO-8601 time such as 2026-01-05T00:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def duration_of(option: str, text: str) -> timedelta:
    """A duration; raises `UsageError`."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not number.isdecimal() or not 0 < int(number) * _UNITS_S[unit] <= _LONGEST_S:
        raise UsageError(f"{option} {text!r}: expected a whole number of s, m, h or d, such as 90m")
    return timedelta(seconds=int(number) * _UNITS_S[unit])

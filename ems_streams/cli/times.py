"""Times as they are given on the command line."""

from datetime import UTC, datetime

from ems_streams.errors import UsageError


def time_of(option: str, text: str, instead: str = "") -> datetime:
    """An ISO-8601 time, UTC unless it says otherwise; raises `UsageError`, which names what else could be given."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected {instead}an ISO-8601 time such as 2026-01-05T00:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

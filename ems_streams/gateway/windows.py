"""Windows of a device, from wherever they are: the newest from the live table of its worker, older ones from PostgreSQL.

Both are asked for the same page and merged by the start of the windows; where both know one, the greater revision counts, and of the same
one the live one. So a page is right whatever the sink is behind with, and however much the live table has given up already.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import orjson
from aiohttp import web

from ems_streams.domain.events import format_time
from ems_streams.domain.windows import LABELS
from ems_streams.gateway.cursors import decode_window, encode_window
from ems_streams.gateway.openapi.parameters import CURSOR, FROM, TO, WINDOW, limit
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.parameters import bad_parameter, cursor_of, limit_of, time_of
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.postgres.history import Page
from ems_streams.postgres.reader import HistoryReader, Query

LIMIT_DEFAULT = 10
LIMIT_MAX = 1000
_HTTP_OK = 200
PARAMETERS = (WINDOW, FROM, TO, limit(LIMIT_DEFAULT, LIMIT_MAX), CURSOR)
MORE = "[history](../howto/history.md)"

Window = dict[str, Any]
Ask = Callable[[Mapping[str, str]], Awaitable[web.Response]]
"""Asks a worker with these query parameters."""


class WindowRequest:
    """What a request for windows asks for.

    Attributes:
        request: The request itself.
        label: Kind of the windows.
        limit: How many at the most.
        start: Only windows that begin then or later.
        end: Only windows that begin before; of the parameter and the cursor the earlier one.
    """

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.label = request.query.get("window", LABELS[0])
        if self.label not in LABELS:
            raise bad_parameter("window", f"must be one of {', '.join(LABELS)}, not {self.label!r}")
        self.limit = limit_of(request, LIMIT_DEFAULT, LIMIT_MAX)
        self.start = time_of(request, "from")
        ends = [end for end in (time_of(request, "to"), cursor_of(request, decode_window)) if end is not None]
        self.end = min(ends, default=None)

    def live_query(self) -> dict[str, str]:
        """For the worker; one more than asked for tells whether there is a next page."""
        times = {"from": self.start, "to": self.end}
        return {
            "window": self.label,
            "limit": str(self.limit + 1),
            **{name: format_time(moment) for name, moment in times.items() if moment is not None},
        }


async def answer(wanted: WindowRequest, ask: Ask, query: Query, history: HistoryReader, unknown: Window) -> web.Response:
    """The page that was asked for; an answer of the worker that is not one of success stands, unless history knows better.

    Args:
        wanted: The page.
        ask: Asks the worker.
        query: Asks PostgreSQL.
        history: PostgreSQL.
        unknown: What stands beside the windows when the worker does not answer.

    `historyAvailable` says whether PostgreSQL was heard: without it, older windows than those shown may exist.
    """
    live, stored = await asyncio.gather(_live(ask, wanted), history.read(query))
    if isinstance(live, ProblemError) or live.status != _HTTP_OK:
        if stored is not None and stored.windows:
            return _page(wanted, unknown, stored, live=False)
        if isinstance(live, ProblemError):
            raise live
        return live
    return _page(wanted, orjson.loads(cast(bytes, live.body)), stored, live=True)


async def _live(ask: Ask, wanted: WindowRequest) -> web.Response | ProblemError:
    try:
        return await ask(wanted.live_query())
    except ProblemError as error:
        return error


def _page(wanted: WindowRequest, body: dict[str, Any], stored: Page | None, *, live: bool) -> web.Response:
    windows = merge(body.get("windows", ()), stored.windows if stored is not None else ())
    page = windows[: wanted.limit]
    following = encode_window(page[-1]["windowStart"]) if len(windows) > wanted.limit else None
    return json_response(
        {
            **body,
            "windows": page,
            "nextCursor": following,
            "liveAvailable": live,
            "historyAvailable": stored is not None,
        },
        headers=next_link(wanted.request, following),
    )


def merge(live: Iterable[Window], stored: Iterable[Window]) -> list[Window]:
    """Windows of one kind, newest first, each once."""
    found: dict[str, Window] = {window["windowStart"]: window for window in stored}
    for window in live:
        known = found.get(window["windowStart"])
        # Revision 0 is a window that is still open: nobody can know more of it than the live table.
        if known is None or window["revision"] == 0 or window["revision"] >= known["revision"]:
            found[window["windowStart"]] = window
    return sorted(found.values(), key=lambda window: datetime.fromisoformat(window["windowStart"]), reverse=True)


def page_query(read: Callable[..., Awaitable[Page]], owner: str | int, wanted: WindowRequest) -> Query:
    """The question to PostgreSQL: `history.device_windows` or `site_windows` for the same page."""

    async def query(connection: Any) -> Page:
        return await read(connection, owner, wanted.label, start=wanted.start, end=wanted.end, limit=wanted.limit + 1)

    return query

"""Ids of HTTP requests: taken from whoever asks, or made, and then in the answer, in problem documents, in every line of the log, and in what is asked on."""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

import structlog
from aiohttp import web

REQUEST_ID_HEADER: Final = "X-Request-Id"
# Without what would let it look like something else in a log or a header.
_SANE: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """Id of the request that is being answered; None outside of any."""
    return _current.get()


def passed_on() -> dict[str, str]:
    """Headers for what is asked of another process because of this request."""
    current = _current.get()
    return {} if current is None else {REQUEST_ID_HEADER: current}


@web.middleware
async def give_request_ids(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Gives every request an id; belongs outside of `error_middleware`. What was prepared before, such as a WebSocket, has no header of it."""
    given = request.headers.get(REQUEST_ID_HEADER)
    current = given if given is not None and _SANE.fullmatch(given) else uuid.uuid4().hex
    # A connection is one task for all of its requests, so each begins anew; what a request leaves running keeps its id.
    _current.set(current)
    structlog.contextvars.bind_contextvars(request_id=current)
    response = await handler(request)
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = current
    return response

"""What is checked of every request before its handler sees it: parameters that the route does not have, and how long the answer may take."""

import asyncio
import re
from typing import Final

from aiohttp import web

from ems_streams.gateway.openapi.describe import Description, description_of
from ems_streams.gateway.parameters import bad_parameter
from ems_streams.gateway.security.browsers import is_websocket
from ems_streams.ops.http import Handler, ProblemError

TIMEOUT_HEADER: Final = "Request-Timeout"
TIMEOUT_MIN_S: Final = 0.001
TIMEOUT_MAX_S: Final = 60.0
_NUMBER: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,9})?")
_READS: Final = frozenset({"GET", "HEAD"})


@web.middleware
async def check_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what cannot be meant; an answer that is only read is given within `Request-Timeout`, or is a problem of 504.

    What changes something is not given up: whoever asked could not know whether it was done.
    """
    described = description_of(request.match_info.handler)
    if described is None or described.hidden:
        return await handler(request)
    if request.query_string:
        _check_parameters(request, described)
    text = request.headers.get(TIMEOUT_HEADER)
    # A WebSocket has answered with its first byte; after that there is nobody to be told of a deadline.
    if text is None or request.method not in _READS or is_websocket(request):
        return await handler(request)
    timeout_s = _seconds(text)
    try:
        async with asyncio.timeout(timeout_s):
            return await handler(request)
    except TimeoutError:
        raise ProblemError(504, "Deadline exceeded", f"Not answered within {timeout_s:g} s, as {TIMEOUT_HEADER} asks for.") from None


def _check_parameters(request: web.Request, described: Description) -> None:
    for name, text in request.query.items():
        if name not in described.query:
            known = ", ".join(sorted(described.query)) or "none"
            raise bad_parameter(name[:64], f"there is no such parameter here; possible: {known}")
        if not text:
            raise bad_parameter(name, "has no value; give it one, or leave it out")
        if name in described.single and len(request.query.getall(name)) > 1:
            raise bad_parameter(name, "is given more than once")


def _seconds(text: str) -> float:
    timeout_s = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not TIMEOUT_MIN_S <= timeout_s <= TIMEOUT_MAX_S:
        detail = f"{TIMEOUT_HEADER}: {text[:40]!r}: must be a number of seconds from {TIMEOUT_MIN_S:g} to {TIMEOUT_MAX_S:g}"
        raise ProblemError(400, "Bad header", detail, header=TIMEOUT_HEADER)
    return timeout_s

"""How much may be asked for at once."""

from aiohttp import web

from ems_streams.ops.http import ProblemError

LIMIT_MAX = 1001  # of the gateway, and one more


def limit_of(request: web.Request, default: int) -> int:
    """The `limit` of a query, 1 to `LIMIT_MAX`."""
    text = request.query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6) or not 1 <= int(text) <= LIMIT_MAX:
        raise ProblemError(400, "Bad Request", f"limit={text!r}: must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)

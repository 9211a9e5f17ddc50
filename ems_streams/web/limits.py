"""How much may be asked for at once, and of which sites."""

from aiohttp import web

from ems_streams.ops.http import ProblemError

LIMIT_MAX = 1001  # of the gateway, and one more


def limit_of(request: web.Request, default: int) -> int:
    """The `limit` of a query, 1 to `LIMIT_MAX`."""
    text = request.query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6) or not 1 <= int(text) <= LIMIT_MAX:
        raise ProblemError(400, "Bad Request", f"limit={text!r}: must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def sites_of(text: str | None) -> frozenset[int] | None:
    """The `site` of a query: ids separated by commas; an empty one is of no site, a missing one of all."""
    if text is None:
        return None
    ids = text.split(",") if text else []
    for each in ids:
        if not (each.isascii() and each.isdigit() and len(each) <= 19):
            raise ProblemError(400, "Bad Request", f"site={text[:80]!r}: must be site ids, whole numbers, separated by commas")
    return frozenset(map(int, ids))

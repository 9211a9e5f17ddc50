"""The way to the next page, as a header."""

from aiohttp import web


def next_link(request: web.Request, cursor: str | None) -> dict[str, str]:
    """`Link` with the address of the page behind a cursor, relative to the gateway; nothing on the last page (RFC 8288)."""
    if cursor is None:
        return {}
    return {"Link": f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'}

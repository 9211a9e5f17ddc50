"""The page and what guards it: static files, and the headers that keep a browser from doing more than it must."""

from pathlib import Path

from aiohttp import web

from ems_streams.gateway.openapi.describe import describe
from ems_streams.gateway.openapi.words import PAGES

STATIC = Path(__file__).parent / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


async def add_security_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: every answer carries them, errors too."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def page_routes() -> list[web.AbstractRouteDef]:
    """`/`, `/dead-letters`, `/login.html` and `/static/`."""
    return [web.get("/", _index), web.get("/dead-letters", _dead_letters), web.get("/login.html", _login), web.get("/static/{name}", _file)]


@describe("the live page", tag=PAGES, hidden=True)
async def _index(_: web.Request) -> web.StreamResponse:
    return _send(STATIC / "index.html")


@describe("the page of dead letters", tag=PAGES, hidden=True, more="[dead letters](../howto/dead-letters.md)")
async def _dead_letters(_: web.Request) -> web.StreamResponse:
    return _send(STATIC / "dead-letters.html")


@describe("the page where people log in", tag=PAGES, hidden=True, more="[who may](../howto/security-gateway.md)")
async def _login(_: web.Request) -> web.StreamResponse:
    return _send(STATIC / "login.html")


@describe("files of the pages", tag=PAGES, hidden=True)
async def _file(request: web.Request) -> web.StreamResponse:
    files = {path.name: path for path in STATIC.iterdir() if path.is_file()}
    path = files.get(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound
    return _send(path)


def _send(path: Path) -> web.FileResponse:
    # The files have no version in their names: a browser asks each time, and is told "not modified".
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})

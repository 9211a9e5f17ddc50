"""The dashboard and what guards it: static files, and the headers that keep a browser from doing more than it must."""

from functools import cache
from pathlib import Path

from aiohttp import web

from ems_streams.gateway.openapi.describe import describe
from ems_streams.gateway.openapi.words import PAGES as PAGES_TAG

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


TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

PAGES = ("/", "/devices", "/devices/{serial}", "/alarms", "/notifications", "/dead-letters", "/pipeline")
"""Addresses of the dashboard; all are one document, which finds out by its address what to show (`static/app.js` has the same list)."""


def page_routes() -> list[web.AbstractRouteDef]:
    """The pages of the dashboard, the one to log in, and `/static/`."""
    return [*(web.get(path, _shell) for path in PAGES), web.get("/login.html", _login), web.get("/static/{name:.+}", _file)]


@describe("the dashboard", tag=PAGES_TAG, hidden=True, more="[dashboard](../howto/dashboard.md)")
async def _shell(_: web.Request) -> web.StreamResponse:
    return _send(STATIC / "index.html")


@describe("the page where people log in", tag=PAGES_TAG, hidden=True, more="[who may](../howto/security-gateway.md)")
async def _login(_: web.Request) -> web.StreamResponse:
    return _send(STATIC / "login.html")


@describe("files of the dashboard", tag=PAGES_TAG, hidden=True)
async def _file(request: web.Request) -> web.StreamResponse:
    path = _files().get(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound
    return _send(path)


@cache
def _files() -> dict[str, Path]:
    """What may be asked for, by name: nothing else can be reached, whatever dots and slashes a name has."""
    return {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}


def _send(path: Path) -> web.FileResponse:
    # The files have no version in their names: a browser asks each time, and is told "not modified".
    headers = {"Cache-Control": "no-cache"}
    # What this machine believes of names of files decides nothing: a module of another type would not run.
    if kind := TYPES.get(path.suffix):
        headers["Content-Type"] = kind
    return web.FileResponse(path, headers=headers)

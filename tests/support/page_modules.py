"""A browser in which modules of the dashboard run by themselves: it is given the files, and there is no server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, Route

from ems_streams.gateway.pages import SECURITY_HEADERS, STATIC
from tests.support.browser import launched

ORIGIN = "http://dashboard.test"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


@asynccontextmanager
async def blank_page() -> AsyncIterator[Page]:
    """A page of the dashboard's origin with nothing on it; without a browser the tests of it are skipped, which says how to get one."""
    async with launched() as browser:
        context = await browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
        page = await context.new_page()
        await page.route(f"{ORIGIN}/**", _serve)
        await page.goto(f"{ORIGIN}/blank")
        yield page


async def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(f"{ORIGIN}/static/").partition("?")[0]
    file = STATIC / path
    if not file.is_file():
        await route.fulfill(body="<!doctype html><p id=announcer></p><p id=banner></p>", content_type="text/html", headers=SECURITY_HEADERS)
        return
    await route.fulfill(body=file.read_bytes(), content_type=TYPES.get(file.suffix, "text/plain"))


async def run(page: Page, module: str, expression: str) -> Any:
    """What an expression gives in which `m` is the module."""
    return await page.evaluate(f"import('/static/{module}').then((m) => ({expression}))")

"""The files of the dashboard: served by name and by nothing else, small, without anything from elsewhere and without markup out of data."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from ems_streams.gateway.pages import PAGES, STATIC, add_security_headers, page_routes
from ems_streams.ops.http import bound_port, error_middleware, start_site

VENDOR = STATIC / "vendor"
OURS = sorted(path for path in STATIC.rglob("*") if path.is_file() and VENDOR not in path.parents)
MODULES = [path for path in OURS if path.suffix == ".js"]
APART = {"api-page.js", "login.js"}
"""Pages of their own, which ask by themselves."""
VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
WHOLE_SIZE_MAX_BYTES = 340_000


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application(middlewares=[error_middleware])
    app.on_response_prepare.append(add_security_headers)
    app.add_routes(page_routes())
    runner = await start_site(app, "127.0.0.1", 0, "EMS_TEST_PORT")
    yield f"http://127.0.0.1:{bound_port(runner)}"
    await runner.cleanup()


async def test_every_page_is_the_shell_and_every_file_is_served_with_its_type(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path in (each.replace("{serial}", "INV%2F1%3Cimg%3E") for each in PAGES):
            async with session.get(URL(url + path, encoded=True)) as response:
                assert (response.status, response.content_type) == (200, "text/html"), path
                assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
        for file in OURS:
            async with session.get(f"{url}/static/{file.relative_to(STATIC).as_posix()}") as response:
                assert response.status == 200, file
                assert file.suffix != ".js" or response.content_type == "text/javascript", file


@pytest.mark.parametrize(
    "name", ["../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "css/../../pages.py", "css", "", "/etc/passwd", "%2fetc%2fpasswd"]
)
async def test_nothing_else_can_be_reached(url: str, name: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(URL(f"{url}/static/{name}", encoded=True)) as response:
        assert response.status == 404


async def test_a_file_that_has_not_changed_is_not_sent_again(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/static/app.js") as first:
            tag = first.headers["ETag"]
        async with session.get(f"{url}/static/app.js", headers={"If-None-Match": tag}) as again:
            assert again.status == 304


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_a_module_makes_no_markup_out_of_text_and_imports_what_there_is(module: Path) -> None:
    text = module.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc", text)
    assert "fetch(" not in text or module.name in APART | {"api.js"}, "all requests of the pages go through api.js"
    assert not re.search(r"""["'`](https?:)?//[a-z]""", text.replace("http://www.w3.org/2000/svg", "")), "nothing from elsewhere"
    assert len(text.splitlines()) <= 220
    for imported in re.findall(r"""(?:^import .* from |\bimport\()"([^"]+)\"""", text, re.MULTILINE):
        assert imported.startswith("."), imported
        assert (module.parent / imported).resolve() in MODULES, imported


def test_the_shell_has_nothing_inline() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style", text)
    assert re.findall(r"<script[^>]*>(.+?)</script>", text) == []
    for asked in re.findall(r'(?:href|src)="/static/([^"]+)"', text):
        assert (STATIC / asked).is_file(), asked


def test_the_pages_are_those_of_the_router() -> None:
    routes = re.findall(r'\{ path: "([^"]+)"', (STATIC / "app.js").read_text())
    assert sorted(re.sub(r":(\w+)", r"{\1}", route) for route in routes) == sorted(PAGES)


def test_what_is_not_ours_is_what_it_was_and_has_its_licence() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (VENDOR / "uplot").iterdir() if path.name != "README.md"}
    assert found == VENDORED
    assert "1.6.32" in (VENDOR / "uplot" / "README.md").read_text()


def test_all_of_it_is_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < WHOLE_SIZE_MAX_BYTES

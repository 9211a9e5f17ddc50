"""A whole system on the embedded stack, and a browser to look at it with, for the tests of this folder."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.support.browser import ARGUMENTS, HOW_TO_GET_ONE, find_browser
from tests.support.deployment import deployment  # noqa: F401 - a fixture


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip(HOW_TO_GET_ONE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        await browser.close()

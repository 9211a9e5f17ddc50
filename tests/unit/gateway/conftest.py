"""One browser for all tests of a module: starting it takes longer than everything else there."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Page

from tests.support.page_modules import blank_page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with blank_page() as page:
        yield page

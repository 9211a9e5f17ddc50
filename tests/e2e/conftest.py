"""A whole system on the embedded stack, and a browser to look at it with, for the tests of this folder."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.support.browser import launched
from tests.support.deployment import deployment  # noqa: F401 - a fixture


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched() as found:
        yield found

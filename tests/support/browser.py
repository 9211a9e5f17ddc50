"""Finds a browser of the Chromium family on this machine; nothing is asked for over the network."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
)
HOW_TO_GET_ONE = (
    "NO BROWSER: the page is not tested. Install chromium or google-chrome, or run `playwright install chromium`, "
    "or set EMS_BROWSER to an executable."
)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """The browser; without one the test is skipped, which says how to get one."""
    executable = find_browser()
    if executable is None:
        pytest.skip(HOW_TO_GET_ONE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        await browser.close()


def find_browser() -> str | None:
    """Path of the executable: `EMS_BROWSER`, one on the PATH, or playwright's own."""
    chosen = os.environ.get("EMS_BROWSER")
    if chosen:
        return shutil.which(chosen)
    on_path = (shutil.which(name) for name in NAMES)
    return next((path for path in on_path if path), None) or _from_playwright()


def _from_playwright() -> str | None:
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium_headless_shell-*/chrome-*/*headless*shell*")
    found = [path for pattern in patterns for path in sorted(root.glob(pattern)) if os.access(path, os.X_OK)]
    return str(found[-1]) if found else None

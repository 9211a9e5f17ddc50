"""`make screenshots`: pictures of every page of the dashboard for the documentation, taken from a system that runs.

The system is that of `EMS_SCREENSHOTS_URL`, or the one of `make demo`. The pictures are JPEG, so that all of them together stay small.
"""

import asyncio
import json
import os
import sys
import urllib.request
from pathlib import Path

from playwright.async_api import BrowserContext, async_playwright

from tests.support.browser import ARGUMENTS, HOW_TO_GET_ONE, find_browser
from tests.support.dashboard import DESKTOP, PATHS, PHONE, WIDE, Complaints, misplaced, opened

DIRECTORY = Path(__file__).parent.parent / "docs" / "screenshots"
QUALITY = 72
SIZE_MAX_BYTES = 3_000_000
KINDS = (
    ("desktop", "light", DESKTOP),
    ("desktop", "dark", DESKTOP),
    ("phone", "light", PHONE),
    ("phone", "dark", PHONE),
    ("wide", "light", WIDE),
)
LOOK_S = 4.0
"""Live charts need a few values before there is something to see."""


def main() -> int:
    """Take all pictures; the exit code is 1 when a page complains, overlaps, or the pictures are too large."""
    executable = find_browser()
    if executable is None:
        print(HOW_TO_GET_ONE, file=sys.stderr)
        return 3
    url = os.environ.get("EMS_SCREENSHOTS_URL", "http://127.0.0.1:8080").rstrip("/")
    return asyncio.run(_take(executable, url))


async def _take(executable: str, url: str) -> int:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    serial = os.environ.get("EMS_SCREENSHOTS_DEVICE") or await asyncio.to_thread(_a_device, url)
    complaints = Complaints()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        for size, scheme, viewport in KINDS:
            context = await browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]  # literals
            addresses = {name: url + path.format(serial=serial) for name, path in PATHS.items()}
            await _pictures(context, complaints, addresses, f"{size}-{scheme}")
            await context.close()
        await browser.close()
    total = sum(path.stat().st_size for path in DIRECTORY.glob("*.jpg"))
    print(f"{total / 1e6:.2f} MB in {DIRECTORY}")
    for each in complaints.found:
        print(each, file=sys.stderr)
    return int(bool(complaints.found) or total > SIZE_MAX_BYTES)


async def _pictures(context: BrowserContext, complaints: Complaints, addresses: dict[str, str], kind: str) -> None:
    for name, address in addresses.items():
        page = await opened(context, complaints, address)
        await page.wait_for_timeout(LOOK_S * 1000)
        complaints.found += [f"{name}, {kind}: {each}" for each in await misplaced(page)]
        await page.screenshot(path=DIRECTORY / f"{name}-{kind}.jpg", type="jpeg", quality=QUALITY)
        print(f"{name}, {kind}", flush=True)
        await page.close()


def _a_device(url: str) -> str:
    with urllib.request.urlopen(f"{url}/api/v1/devices?limit=100", timeout=20) as response:
        devices = json.load(response)["devices"]
    serials = [each["serialNumber"] for each in devices if each["deviceType"] == "SOLAR_INVERTER" and each["status"] == "ONLINE"]
    return str((serials or [each["serialNumber"] for each in devices])[0])


if __name__ == "__main__":
    sys.exit(main())

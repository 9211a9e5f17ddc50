"""The page of dead letters in a real browser: a group is opened, a letter mended, tried and sent back; the rest goes with one button."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright, expect

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from tests.support.browser import ARGUMENTS, HOW_TO_GET_ONE, find_browser
from tests.support.dead_letters import letter_of, put, telemetry_value, unique
from tests.support.deployment import deployment  # noqa: F401 - a fixture
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.e2e

expect.set_options(timeout=20_000)

SHOTS = os.environ.get("EMS_TEST_SCREENSHOTS")
"""A directory for pictures, for who wants to look at the page."""

XSS = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
def gateway(deployment: Deployment) -> Running:  # noqa: F811
    running = deployment.gateway()
    eventually(lambda: get(f"{running.url}/livez")[0], 30, "the gateway answers")
    return running


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    executable = find_browser()
    if executable is None:
        pytest.skip(HOW_TO_GET_ONE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield await browser.new_page(viewport={"width": 1360, "height": 860})
        await browser.close()


async def test_a_letter_is_mended_tried_and_sent_back_and_its_group_follows(
    deployment: Deployment,  # noqa: F811
    gateway: Running,
    page: Page,
) -> None:
    serial = unique("PAGE")
    bad = telemetry_value(serial, "high", note=XSS)
    others = [letter_of(DEVICE_TELEMETRY, f"{serial}-{n}".encode(), telemetry_value(f"{serial}-{n}"), stage="aggregates") for n in range(3)]
    raw = letter_of(DEVICE_TELEMETRY, f"{serial}-raw".encode(), b"\xff\x00\x01", error_class=XSS, stage="ingress")
    await asyncio.to_thread(
        put, deployment.stack.kafka_bootstrap, [letter_of(DEVICE_TELEMETRY, serial.encode(), bad, stage="aggregates"), *others, raw]
    )
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    await page.goto(f"{gateway.url}/dead-letters")
    await expect(page.locator("#open-total")).to_have_text("5")
    await expect(page.locator("#groups tr")).to_have_count(2)
    await expect(page.locator("#groups tr", has_text="onerror")).to_contain_text(XSS)
    await page.locator("#groups tr", has_text="invalid_field").click()
    await expect(page.locator("#letters tr")).to_have_count(4)
    await page.locator("#letters tr").filter(has=page.get_by_role("button", name=serial, exact=True)).click()
    await expect(page.locator("#letter .reason")).to_contain_text("invalid_field")
    await expect(page.locator("#letter-value")).to_have_value(json.dumps(json.loads(bad), indent=2))
    await page.locator("#letter summary", has_text="Bytes").click()
    await expect(page.locator("#letter pre")).to_contain_text("00000000  7b")

    await page.click("#letter-dry-run")
    await expect(page.locator("#letter-result")).to_contain_text("telemetryData")
    await page.fill("#letter-value", telemetry_value(serial, 45.5).decode())
    await page.click("#letter-dry-run")
    await expect(page.locator("#letter-result")).to_have_class("result good")
    await expect(page.locator("#letter-result")).to_contain_text("1 sent back to device-telemetry. Nothing was written")
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/dead-letters.png")
    await page.click("#letter-redrive")
    await expect(page.locator("#letter-result")).to_contain_text("finished: 1 sent back")
    await expect(page.locator("#letters tr")).to_have_count(3)
    await page.keyboard.press("Escape")
    await expect(page.locator("#letter-value")).to_have_count(0)

    await page.click("#group-dry-run")
    await expect(page.locator("#group-result")).to_contain_text("Dry run: 3 sent back")
    await page.click("#group-redrive")
    await expect(page.locator("#group-result")).to_contain_text("finished: 3 sent back")
    await expect(page.locator("#open-total")).to_have_text("1")
    await page.locator("#groups tr", has_text="onerror").click()
    await page.locator("#letters tr", has_text="raw").click()
    await expect(page.locator("#letter-value")).to_be_disabled()
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main img").count() == 0
    assert complaints == []


async def test_it_fits_a_phone_and_both_pages_lead_to_each_other(gateway: Running, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(gateway.url)
    await page.get_by_role("link", name="Dead letters").click()
    await expect(page.locator("#groups-empty")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("link", name="Live").click()
    await expect(page.locator("#devices-title")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

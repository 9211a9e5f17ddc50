"""The page of dead letters in a real browser: a group is opened, a letter mended, tried and sent back; the rest goes with one button."""

import asyncio
import json
import os

import pytest
from playwright.async_api import Browser, Page, expect

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from tests.support.dashboard import Complaints
from tests.support.dead_letters import letter_of, put, telemetry_value, unique
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = pytest.mark.e2e

expect.set_options(timeout=20_000)

SHOTS = os.environ.get("EMS_TEST_SCREENSHOTS")
"""A directory for pictures, for who wants to look at the page."""

XSS = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
def gateway(deployment: Deployment) -> Running:
    running = deployment.gateway()
    eventually(lambda: get(f"{running.url}/livez")[0], 30, "the gateway answers")
    return running


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page(viewport={"width": 1360, "height": 860})


async def test_a_letter_is_mended_tried_and_sent_back_and_its_group_follows(
    deployment: Deployment,
    gateway: Running,
    page: Page,
) -> None:
    serial = unique("PAGE")
    bad = telemetry_value(serial, "high", note=XSS)
    await put_letters(deployment, serial, bad)
    complaints = Complaints()
    complaints.watch(page)
    await page.goto(f"{gateway.url}/dead-letters")
    await open_the_letter(page, serial, bad)
    await mend_it(page, serial)
    await send_the_rest_of_its_group(page)
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main img").count() == 0
    assert complaints.found == []


async def put_letters(deployment: Deployment, serial: str, bad: bytes) -> None:
    """Four of one group, of which one is to be mended, and one of bytes whose error class is markup."""
    others = [letter_of(DEVICE_TELEMETRY, f"{serial}-{n}".encode(), telemetry_value(f"{serial}-{n}"), stage="aggregates") for n in range(3)]
    raw = letter_of(DEVICE_TELEMETRY, f"{serial}-raw".encode(), b"\xff\x00\x01", error_class=XSS, stage="ingress")
    await asyncio.to_thread(
        put, deployment.stack.kafka_bootstrap, [letter_of(DEVICE_TELEMETRY, serial.encode(), bad, stage="aggregates"), *others, raw]
    )


async def open_the_letter(page: Page, serial: str, bad: bytes) -> None:
    """Two groups, the letters of one, and one of them in full."""
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


async def mend_it(page: Page, serial: str) -> None:
    """A dry run says what is wrong, and another that the change is right; then it is sent, and gone from the list."""
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


async def send_the_rest_of_its_group(page: Page) -> None:
    """With one button; what is no text stays, and cannot be changed here."""
    await page.click("#group-dry-run")
    await expect(page.locator("#group-result")).to_contain_text("Dry run: 3 sent back")
    await page.click("#group-redrive")
    await page.locator("dialog").get_by_role("button", name="Redrive all").click()
    await expect(page.locator("#group-result")).to_contain_text("finished: 3 sent back")
    await expect(page.locator("#open-total")).to_have_text("1")
    await page.locator("#groups tr", has_text="onerror").click()
    await page.locator("#letters tr", has_text="raw").click()
    await expect(page.locator("#letter-value")).to_be_disabled()

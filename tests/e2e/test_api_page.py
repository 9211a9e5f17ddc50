"""The page of the API in a real browser: it shows every operation, sends requests, and needs nothing but the gateway."""

import re

import pytest
from playwright.async_api import Browser, ConsoleMessage, expect

from tests.support.processes import Deployment, eventually, get

pytestmark = pytest.mark.e2e


async def test_the_api_is_read_and_tried_on_its_page(deployment: Deployment, browser: Browser) -> None:
    gateway = deployment.gateway()
    eventually(lambda: get(f"{gateway.url}/livez")[0] == 200, 30, "the gateway answers")
    page = await browser.new_page(viewport={"width": 400, "height": 800})
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "503" not in message.text and "400" not in message.text:
            complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{gateway.url}/api.html")
    document = get(f"{gateway.url}/openapi.json")[1]
    count = sum(len(methods) for methods in document["paths"].values())
    await expect(page.locator("details.operation")).to_have_count(count)
    await expect(page.locator("#count")).to_have_text(f"{count} operations")

    await page.fill("#filter", "get livez")
    await expect(page.locator("#count")).to_have_text("1 operations")
    probe = page.locator("details.operation:visible")
    await probe.locator("summary").click()
    await probe.get_by_role("button", name="Send GET").click()
    await expect(probe.locator("[aria-live]")).to_contain_text(re.compile(r"200 .* GET /livez"))
    await expect(probe.locator("[aria-live] pre")).to_contain_text('"status": "ok"')

    await page.fill("#filter", "get /api/v1/devices site status")
    await page.fill("#filter", "devices, by serial")
    devices = page.locator("details.operation:visible")
    await devices.locator("summary").click()
    await devices.get_by_label("limit").fill("0")
    await devices.get_by_label("status").select_option("ONLINE")
    await devices.get_by_role("button", name="Send GET").click()
    await expect(devices.locator("[aria-live]")).to_contain_text("400")
    await expect(devices.locator("[aria-live]")).to_contain_text("must be a whole number from 1 to 500")

    await page.fill("#filter", "post redrive dry")
    await page.fill("#filter", "post dlt")
    redrive = page.locator("details.operation:visible")
    await redrive.locator("summary").click()
    assert '"dryRun": true' in await redrive.get_by_label("Body", exact=True).input_value()
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is wider than a phone"
    assert complaints == []

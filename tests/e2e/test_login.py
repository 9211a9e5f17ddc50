"""Logging in with a real browser: no token, a wrong one, the right one; the page it came from; and out again."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.guarded_gateway import OWN, Guarded, guarded

pytestmark = pytest.mark.e2e

SHOTS = os.environ.get("EMS_TEST_SCREENSHOTS")
"""A directory for pictures, for who wants to look at the page."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as made:
        yield made


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page(viewport={"width": 400, "height": 800})


async def test_somebody_logs_in_and_out(place: Guarded, page: Page) -> None:
    token = place.token("viewer", [OWN])
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if "Content Security Policy" in message.text else None)
    await page.goto(f"{place.url}/dead-letters")
    await expect(page).to_have_url(f"{place.url}/login.html?next=%2Fdead-letters")
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.get_by_label("Token").fill("ems_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("There is no such token.")
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/login.png")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{place.url}/dead-letters")
    cookies = await page.context.cookies()
    assert [(each["name"], each["httpOnly"], each["sameSite"]) for each in cookies] == [("ems-session", True, "Strict")]
    assert token not in str(cookies)
    assert await page.evaluate("document.cookie") == ""
    assert await page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    # A page of its own: what asks with the cookie now is this browser, over HTTP as over the WebSocket.
    asked = "fetch('/api/v1/devices').then((answer) => answer.json()).then((body) => body.devices.map((each) => each.serialNumber))"
    assert await page.evaluate(asked) == ["D1"]
    opened = "new Promise((done) => { const s = new WebSocket('/ws/notifications'.replace(/^/, location.origin.replace('http', 'ws'))); s.onopen = () => { s.close(); done(true); }; s.onerror = () => done(false); })"
    assert await page.evaluate(opened) is True
    await page.goto(f"{place.url}/login.html?next=https://evil.example/")
    await expect(page.get_by_text("Logged in as viewer-1, viewer.")).to_be_visible()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    assert await page.context.cookies() == []
    assert await page.evaluate("fetch('/api/v1/devices').then((answer) => answer.status)") == 401
    # What stands in the address may be anybody's: it leads to pages of this gateway only.
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{place.url}/")
    await page.goto(f"{place.url}/login.html?next=/.//evil.example/")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{place.url}//evil.example/")
    assert failures == []


async def test_what_a_role_may_not_is_not_offered_on_the_dashboard(place: Guarded, page: Page) -> None:
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.goto(f"{place.url}/alarms")
    await page.get_by_label("Token").fill(place.token("viewer", [OWN]))
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{place.url}/alarms")
    await expect(page.locator("#who")).to_have_text("viewer-1 · viewer")
    await expect(page.locator("tr[data-alarm]")).to_have_count(1)
    await expect(page.locator("tr[data-alarm] button")).to_be_disabled()
    await expect(page.get_by_role("link", name="Devices")).to_be_visible()
    await expect(page.get_by_role("link", name="Dead letters")).to_be_hidden()
    await page.goto(f"{place.url}/dead-letters")
    await expect(page.locator("main")).to_contain_text("The role viewer may not do this; it needs admin.")
    await page.goto(f"{place.url}/devices/D1")
    await expect(page.locator(".commands-card")).to_contain_text("it needs operator")
    await expect(page.get_by_role("button", name="Begin maintenance")).to_be_disabled()
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(f"{place.url}/login.html")

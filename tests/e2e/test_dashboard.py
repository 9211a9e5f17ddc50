"""The dashboard on a whole system, as one story: every page is opened, a device goes away, an alarm is noted, a command is sent, a letter sent back."""

import asyncio

import pytest
from playwright.async_api import Browser, Page, expect

from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.dashboard import DESKTOP, PATHS, PHONE, WIDE, Complaints, misplaced, opened, serious_findings, settled
from tests.support.processes import Deployment

pytestmark = pytest.mark.e2e

expect.set_options(timeout=20_000)

SERIAL = "E2E-INV-00001"
BATTERY = "E2E-HOT-BATTERY"
LIMIT_KW = 1.5
XSS = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
async def url(deployment: Deployment) -> str:
    """Everything runs, and a simulated fleet does what it is told."""
    processes = [deployment.ingress(), deployment.worker(), deployment.sink(), deployment.gateway()]
    await asyncio.to_thread(deployment.command, "rules", "apply", "--builtin")
    for process in processes:
        await asyncio.to_thread(process.wait_until_ready)
    options = ["--seed", "3", "--prefix", "E2E-", "--devices", "2", "--sites", "1", "--rate", "4", "--duration", "0"]
    log = ["--command-log", str(deployment.directory / "commands.jsonl")]
    deployment.start("simulator", ["simulate", *options, *log], 0, {})
    return processes[-1].url


@pytest.mark.timeout(300)
async def test_the_day_of_an_operator(browser: Browser, deployment: Deployment, url: str) -> None:
    complaints = Complaints()
    context = await browser.new_context(viewport=DESKTOP, color_scheme="light")
    async with MqttPublisher(deployment.stack.mqtt_url, f"{deployment.application_id}-dashboard") as device:
        await publish_what_is_seen(device)
        page = await opened(context, complaints, url)
        await a_device_goes_offline_and_the_pages_show_it(page, device, url)
    await an_alarm_is_acknowledged(page)
    await a_command_is_sent(page)
    await dead_letters_are_redriven(page)
    await back_and_forward_work(page)
    await page.close()
    await every_page_is_in_order(browser, complaints, url)
    await context.close()
    assert complaints.found == []


async def publish_what_is_seen(device: MqttPublisher) -> None:
    """A battery that is too hot, a device of another site, and two messages that nobody can read, one of which is markup."""
    await device.publish(f"sites/1/devices/{BATTERY}/telemetry", b'{"temperature": 66, "powerKw": 3, "deviceType": "BATTERY"}')
    await device.publish("sites/2/devices/E2E-SITE-2/telemetry", b'{"powerKw": 7.5}')
    await device.publish("sites/1/devices/E2E-BAD/telemetry", b'{"powerKw": "high"}')
    await device.publish("sites/1/devices/E2E-BAD/telemetry", XSS.encode())


async def a_device_goes_offline_and_the_pages_show_it(page: Page, device: MqttPublisher, url: str) -> None:
    """On the overview, and on its own page, neither of which is loaded again."""
    await expect(page.locator(".sites tbody tr")).to_have_count(2)
    await expect(page.locator(".status-tile[data-status=OFFLINE] b")).to_have_text("0")
    other = await page.context.new_page()
    await other.goto(f"{url}/devices/E2E-SITE-2")
    await expect(other.locator("#device-status")).to_contain_text("Online")
    reason = f"gone {XSS}"
    await device.publish(
        "sites/2/devices/E2E-SITE-2/status", f'{{"status": "OFFLINE", "reason": "gone {XSS.replace(chr(34), chr(39))}"}}'.encode()
    )
    await expect(page.locator(".status-tile[data-status=OFFLINE] b")).to_have_text("1")
    await expect(page.locator(".news-card .note-row", has_text="E2E-SITE-2").first).to_contain_text("gone <img")
    await expect(other.locator("#device-status")).to_contain_text("Offline")
    await expect(other.locator(".facts")).to_contain_text(reason.replace('"', "'"))
    await expect(other.locator(".status-card .changes li").first).to_contain_text("Offline")
    assert await other.evaluate("window.hacked") is None
    await other.close()


async def an_alarm_is_acknowledged(page: Page) -> None:
    await page.get_by_role("link", name="All alarms").click()
    row = page.locator("tr[data-alarm]", has_text=BATTERY)
    await expect(row).to_contain_text("Critical")
    await row.get_by_role("button", name="Acknowledge").click()
    await page.get_by_label("Note").fill(f"On my way {XSS}")
    await page.get_by_label("Your name").fill("Ann")
    await page.locator("dialog").get_by_role("button", name="Acknowledge").click()
    await expect(row.locator(".a-ACKNOWLEDGED")).to_be_visible()
    await expect(row.locator(".noted")).to_contain_text(f"Ann: “On my way {XSS}”")
    await expect(page.locator("dialog")).to_have_count(0)


async def a_command_is_sent(page: Page) -> None:
    """By the catalogue of its type, asked once more, and followed until the device has done it and its telemetry says so."""
    await page.get_by_role("link", name="Devices", exact=True).click()
    await page.fill("#filter", SERIAL.lower())
    await expect(page.locator("tr.device")).to_have_count(1)
    await page.locator("tr.device a").click()
    await expect(page.locator("h1")).to_have_text(SERIAL)
    await expect(page.locator(".chart canvas")).to_be_visible()
    await expect(page.locator(".windows tbody tr").first).to_contain_text("open")
    await page.get_by_label("powerLimitKw, kW").fill(str(LIMIT_KW))
    await page.locator(".command-form").get_by_role("button", name="Send").click()
    await expect(page.locator("dialog")).to_contain_text(f"powerLimitKw = {LIMIT_KW}. ")
    await page.locator("dialog").get_by_role("button", name="Send").click()
    await expect(page.locator("[data-command][data-status=COMPLETED]")).to_contain_text("By Ann")
    await expect(page.locator(".metric[data-metric=powerKw]")).to_contain_text("1.5")
    await page.get_by_role("button", name="Explain").click()
    await expect(page.locator(".explain .first-why")).to_contain_text("ONLINE")
    await expect(page.locator(".explain-table tbody tr").first).to_contain_text("device-")


async def dead_letters_are_redriven(page: Page) -> None:
    await page.get_by_role("link", name="Dead letters").click()
    await page.locator("#groups tr", has_text="invalid_metric_value").click()
    await expect(page.locator("#letters tr")).to_have_count(1)
    await page.locator("#letters button").click()
    await page.fill("#letter-value", '{"powerKw": 8}')
    await page.click("#letter-redrive")
    await expect(page.locator("#letter-result")).to_contain_text("finished: 1 sent back")
    await page.goto(page.url.replace("dead-letters", "devices/E2E-BAD"))
    await expect(page.locator(".metric[data-metric=powerKw]")).to_contain_text("8")


async def back_and_forward_work(page: Page) -> None:
    await page.get_by_role("link", name="Pipeline").click()
    await expect(page.locator(".worker-head .badge").first).to_have_text("● Ready")
    await page.get_by_role("link", name="Notifications").click()
    await page.get_by_label("Severity").select_option("CRITICAL")
    await expect(page.locator("#feed li").first).to_contain_text("overheated")
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("Pipeline")
    await page.go_forward()
    await expect(page.locator("h1")).to_have_text("Notifications")
    assert "severity=CRITICAL" in page.url
    await expect(page.get_by_label("Severity")).to_have_value("CRITICAL")
    assert await page.evaluate("window.hacked") is None


async def every_page_is_in_order(browser: Browser, complaints: Complaints, url: str) -> None:
    """In both colours and at both ends of the widths: nothing overlaps or sticks out, and axe-core finds nothing serious."""
    wrong: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        context = await browser.new_context(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce")
        for name, path in PATHS.items():
            page = await opened(context, complaints, url + path.format(serial=SERIAL))
            wrong |= {f"{name}, {scheme}, {what}": found for what, found in await findings(page) if found}
            await page.close()
        await context.close()
    assert wrong == {}


async def findings(page: Page) -> list[tuple[str, list[str]]]:
    narrow = await misplaced(page)
    phone = await serious_findings(page)
    await page.set_viewport_size(WIDE)
    await settled(page)
    return [
        ("400 px", narrow),
        ("axe at 400 px", phone),
        ("2560 px", await misplaced(page)),
        ("axe at 2560 px", await serious_findings(page)),
    ]

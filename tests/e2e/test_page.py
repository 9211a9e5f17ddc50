"""The page in a real browser: workers stand in over HTTP, Kafka and the gateway are real."""

import asyncio
import json
import re
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from playwright.async_api import Browser, Page, expect

from ems_streams.gateway.server import serve
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_TELEMETRY, Catalogue
from ems_streams.settings import Settings
from tests.support.worker_stand_in import WorkerCluster, device_view

pytestmark = pytest.mark.e2e

# Machines that run tests can be slow: how fast the page is, is not what is tested here.
expect.set_options(timeout=20_000)

XSS = '<img src=x onerror="window.hacked=1">'


@dataclass
class Product:
    """A running gateway with what it stands on."""

    settings: Settings
    cluster: WorkerCluster
    producer: AIOKafkaProducer
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway_port}/"

    async def start(self) -> None:
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(serve(self.settings, stop=self.stop))
        await asyncio.sleep(0.3)

    async def end(self) -> None:
        self.stop.set()
        if self.task is not None:
            await asyncio.wait_for(self.task, 10)

    async def notify(self, title: str, **more: object) -> None:
        value = {
            "notificationId": uuid.uuid4().hex,
            "kind": "STATUS_CHANGE",
            "severity": "WARNING",
            "serialNumber": "INV-001",
            "siteId": 1,
            "deviceId": 1,
            "title": title,
            "message": "went from ONLINE to OFFLINE",
            "timestamp": "2025-10-04T10:15:00Z",
            "data": {},
            **more,
        }
        await self.producer.send_and_wait(DEVICE_NOTIFICATIONS, json.dumps(value).encode(), key=b"INV-001")


@pytest.fixture
async def product(kafka_servers: str) -> AsyncIterator[Product]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    existing = await admin.list_topics()
    catalogue = Catalogue("ems-streams", 4)
    missing = [
        NewTopic(name, 4, 1, topic_configs=catalogue[name].config)
        for name in (DEVICE_NOTIFICATIONS, DEVICE_TELEMETRY)
        if name not in existing
    ]
    if missing:
        await admin.create_topics(missing)
    await admin.close()
    cluster = WorkerCluster()
    await cluster.start(2)
    cluster.put(*(device_view(f"INV-{number:03d}", site=number % 4, power_kw=number + 0.5) for number in range(1, 1501)))
    producer = AIOKafkaProducer(bootstrap_servers=kafka_servers)
    await producer.start()
    settings = Settings.load(
        query_timeout_s=10, kafka_bootstrap_servers=kafka_servers, gateway_port=free_port(), worker_urls=cluster.workers[0].url
    )
    product = Product(settings, cluster, producer)
    await product.start()
    yield product
    await product.end()
    await producer.stop()
    await cluster.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Watched:
    """A page whose complaints are kept."""

    page: Page
    complaints: list[str]


@pytest.fixture
async def watched(browser: Browser, product: Product) -> AsyncIterator[Watched]:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(product.url)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    yield Watched(page, complaints)
    await page.close()


async def test_devices_are_listed_and_stay_fresh(watched: Watched, product: Product) -> None:
    page = watched.page
    first = page.locator("tr.device").first
    await expect(first).to_contain_text("INV-001")
    await expect(first).to_contain_text("1.5 kW")
    await expect(page.locator("#count")).to_have_text("1,500")
    assert await page.locator("tr.device").count() < 80
    product.cluster.put(device_view("INV-001", status="ERROR", power_kw=77.7))
    await expect(first).to_contain_text("77.7 kW")
    await expect(first).to_contain_text("Error")
    assert watched.complaints == []


async def test_the_last_of_many_devices_can_be_scrolled_to(watched: Watched) -> None:
    await expect(watched.page.locator("tr.device").first).to_be_visible()
    await watched.page.evaluate("document.getElementById('scroll').scrollTop = 1e9")
    await expect(watched.page.locator("tr.device").last).to_contain_text("INV-999")
    assert watched.complaints == []


async def test_filters_by_text_and_status(watched: Watched, product: Product) -> None:
    page = watched.page
    product.cluster.devices["INV-1234"]["status"] = "MAINTENANCE"
    await page.fill("#filter", "inv-1234")
    await expect(page.locator("tr.device")).to_have_count(1)
    await page.fill("#filter", "")
    await page.click("button.tile[data-status=MAINTENANCE]")
    await expect(page.locator("tr.device")).to_have_count(1)
    await expect(page.locator("tr.device").first).to_contain_text("INV-1234")
    assert watched.complaints == []


async def test_a_notification_appears_without_reload(watched: Watched, product: Product) -> None:
    title = f"INV-001 is OFFLINE {uuid.uuid4().hex[:6]}"
    await product.notify(title)
    await expect(watched.page.locator("#feed li").first).to_contain_text(title)
    assert watched.complaints == []


async def test_notifications_say_what_they_are(watched: Watched, product: Product) -> None:
    tag = uuid.uuid4().hex[:6]
    told: list[tuple[str, dict[str, object], str]] = [
        ("FLAPPING_STARTED", {"changes": 6}, "Flapping"),
        ("FLAPPING_ENDED", {"changes": 195}, "Flapping ended"),
        ("ALARM_RAISED", {"alarmId": "a"}, "Alarm"),
        ("ALARM_CLEARED", {"alarmId": "a"}, "Alarm over"),
        ("STATUS_CHANGE", {"maintenanceWindowId": "mw-1"}, "After maintenance"),
        ("STATUS_CHANGE", {}, ""),
        ("constructor", {}, ""),
    ]
    for number, (kind, data, expected) in enumerate(told):
        await product.notify(f"{tag}-{number}", kind=kind, data=data)
        item = watched.page.locator("#feed li", has_text=f"{tag}-{number}")
        await expect(item.locator("p")).to_have_text(f"{expected}went from ONLINE to OFFLINE")
        await expect(item.locator(".kind")).to_have_count(1 if expected else 0)
    assert watched.complaints == []


async def test_a_device_shows_why_people_are_not_told_of_it(watched: Watched, product: Product) -> None:
    window = {"windowId": "mw-1", "until": "2099-01-01T12:00:00Z", "reason": XSS}
    flapping = {"since": "2025-10-04T10:15:00Z", "changes": 1195}
    product.cluster.put(
        device_view("INV-001", maintenance=window, flapping=flapping), device_view("INV-002", maintenance=None, flapping=None)
    )
    page = watched.page
    badges = page.locator("tr.device .badge")
    await expect(badges.first).to_have_attribute("title", re.compile(r"Maintenance window until .*onerror.*Flapping: 1,195 changes since"))
    await expect(badges.first).to_have_class("badge s-ONLINE untold")
    await expect(badges.nth(1)).to_have_class("badge s-ONLINE")
    await page.fill("#filter", "flapping")
    await expect(page.locator("tr.device")).to_have_count(1)
    await page.locator("button.serial", has_text="INV-001").click()
    await expect(page.locator("#detail .note")).to_contain_text("1,195 changes")
    product.cluster.put(device_view("INV-001"))
    await expect(page.locator("#detail .note")).to_have_count(0)
    await page.fill("#filter", "")
    await expect(badges.first).to_have_class("badge s-ONLINE")
    assert await page.evaluate("window.hacked") is None
    assert watched.complaints == []


async def test_a_device_shows_its_alarms(watched: Watched, product: Product) -> None:
    alarm = {
        "title": XSS,
        "message": "It has 92 degrees.",
        "severity": "CRITICAL",
        "raisedAt": "2025-10-04T10:15:00Z",
        "acknowledgedBy": "Ann",
    }
    product.cluster.put(device_view("INV-001", alarms=[alarm]))
    page = watched.page
    await page.locator("button.serial", has_text="INV-001").first.click()
    await expect(page.locator("#detail .alarms li")).to_have_count(1)
    await expect(page.locator("#detail .alarms strong")).to_have_text(XSS)
    await expect(page.locator("#detail .alarms p")).to_have_text("Acknowledged by Ann. It has 92 degrees.")
    product.cluster.put(device_view("INV-001", alarms=[]))
    await expect(page.locator("#detail .alarms")).to_have_count(0)
    assert await page.evaluate("window.hacked") is None
    assert watched.complaints == []


async def test_what_devices_say_is_text(watched: Watched, product: Product) -> None:
    product.cluster.put(device_view(XSS.replace("<", "0<", 1), deviceType=XSS, statusReason=XSS))
    await watched.page.fill("#filter", "onerror")
    await expect(watched.page.locator("tr.device button.serial")).to_have_text("0" + XSS)
    await product.notify(XSS, message=XSS, severity=XSS, timestamp=XSS)
    await expect(watched.page.locator("#feed li").first.locator("strong")).to_have_text(XSS)
    assert await watched.page.evaluate("window.hacked") is None
    assert await watched.page.locator("main img").count() == 0
    assert watched.complaints == []


async def test_a_device_opens_with_its_last_minutes_and_closes_by_keyboard(watched: Watched, product: Product) -> None:
    mean = {"count": 60, "sum": 120.0, "min": 1.0, "max": 3.0, "mean": 2.0, "last": 2.0}
    product.cluster.windows["INV-002"] = [
        {"window": "1m", "windowStart": f"2025-10-04T10:{minute:02d}:00Z", "windowEnd": "", "revision": 0, "metrics": {"powerKw": mean}}
        for minute in range(10, 14)
    ]
    page = watched.page
    await page.locator("button.serial", has_text="INV-002").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#detail-title")).to_have_text("INV-002")
    await expect(page.locator("#detail svg.spark")).to_be_visible()
    await expect(page.locator("#detail table.windows tbody tr")).to_have_count(4)
    await page.keyboard.press("Escape")
    await expect(page.locator("#detail")).to_be_hidden()
    assert watched.complaints == []


async def test_a_gateway_that_restarts_is_told_and_nothing_is_missed(watched: Watched, product: Product) -> None:
    page = watched.page
    await product.end()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    title = f"while away {uuid.uuid4().hex[:6]}"
    await product.notify(title)
    await product.start()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    await expect(page.locator("#feed li", has_text=title)).to_have_count(1)


async def test_it_fits_a_phone(browser: Browser, product: Product) -> None:
    page = await browser.new_page(viewport={"width": 360, "height": 740})
    await page.goto(product.url)
    await expect(page.locator("tr.device").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.close()


async def test_answers_carry_the_security_headers(browser: Browser, product: Product) -> None:
    page = await browser.new_page()
    for path in ("", "static/app.js", "api/v1/pipeline", "api/v1/nothing"):
        response = await page.request.get(product.url + path)
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "unsafe-inline" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
    await page.close()

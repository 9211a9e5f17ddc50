"""The page in a real browser: workers stand in over HTTP, Kafka and the gateway are real."""

import asyncio
import json
import re
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from playwright.async_api import Browser, Page, expect

from ems_streams.gateway.server import serve
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_TELEMETRY, Catalogue
from ems_streams.settings import Settings
from tests.support.dashboard import Complaints, misplaced
from tests.support.processes import eventually, get
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
        await asyncio.to_thread(eventually, lambda: get(f"{self.url}livez")[0] == 200, 30, "the gateway answers")

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
    complaints: Complaints
    url: str

    async def go(self, path: str) -> Page:
        """Another page of it, loaded anew."""
        await self.page.goto(self.url + path)
        await expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")
        return self.page


@pytest.fixture
async def watched(browser: Browser, product: Product) -> AsyncIterator[Watched]:
    complaints = Complaints()
    page = complaints.watch(await browser.new_page(viewport={"width": 1280, "height": 800}))
    yield Watched(page, complaints, product.url)
    await page.close()


async def test_many_devices_are_listed_found_sorted_and_stay_fresh(watched: Watched, product: Product) -> None:
    page = await watched.go("devices")
    rows = page.locator("tr.device")
    await expect(page.locator("#count")).to_have_text("1,500 devices")
    await expect(rows.first).to_contain_text("1.5 kW")
    assert await rows.count() < 80
    product.cluster.put(device_view("INV-001", status="ERROR", power_kw=77.7))
    await expect(rows.first).to_contain_text("77.7 kW")
    await expect(rows.first).to_contain_text("Error")
    await page.get_by_role("button", name="Power").click()
    await page.get_by_role("button", name="Power").click()
    await expect(rows.first).to_contain_text("INV-1500")
    await expect(page.locator("th[aria-sort=descending]")).to_have_text("Power▼")
    await page.fill("#filter", "inv-1234")
    await expect(rows).to_have_count(1)
    await page.fill("#filter", "")
    await page.get_by_label("Status", exact=True).select_option("ERROR")
    await expect(rows).to_have_count(1)
    assert "status=ERROR" in page.url
    assert "sort=-power" in page.url
    await page.reload()
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_contain_text("INV-001")
    assert watched.complaints.found == []


async def test_the_list_is_gone_through_by_keyboard(watched: Watched) -> None:
    page = await watched.go("devices")
    await expect(page.locator("#count")).to_have_text("1,500 devices")
    await page.locator("tr.device a").first.focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("a:focus")).to_have_text("INV-002")
    await page.keyboard.press("End")
    await expect(page.locator("a:focus")).to_have_text("INV-1500")
    await page.keyboard.press("PageUp")
    await page.keyboard.press("Home")
    await expect(page.locator("a:focus")).to_have_text("INV-001")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("INV-001")
    await expect(page.locator("h1")).to_be_focused()
    await page.goto(watched.url)
    await page.keyboard.press("Tab")
    await expect(page.locator("a:focus")).to_have_text("Skip to the content")
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def test_notifications_appear_without_reload_and_say_what_they_are(watched: Watched, product: Product) -> None:
    page = await watched.go("notifications")
    tag = uuid.uuid4().hex[:6]
    told: list[tuple[str, dict[str, object], str]] = [
        ("FLAPPING_STARTED", {"changes": 6}, "Flapping"),
        ("ALARM_CLEARED", {"alarmId": "a"}, "Alarm over"),
        ("STATUS_CHANGE", {"maintenanceWindowId": "mw-1"}, "After maintenance"),
        ("constructor", {}, ""),
    ]
    for number, (kind, data, expected) in enumerate(told):
        await product.notify(f"{tag}-{number}", kind=kind, data=data)
        item = page.locator("#feed li", has_text=f"{tag}-{number}")
        await expect(item.locator("p")).to_have_text(f"{expected}went from ONLINE to OFFLINE")
        await expect(item.locator(".kind")).to_have_count(1 if expected else 0)
    await page.get_by_label("Kind").select_option("FLAPPING_STARTED")
    await expect(page.locator("#feed li", has_text=tag)).to_have_count(1)
    assert watched.complaints.found == []


async def test_a_device_shows_why_people_are_not_told_of_it(watched: Watched, product: Product) -> None:
    window = {"windowId": "mw-1", "until": "2099-01-01T12:00:00Z", "reason": XSS}
    flapping = {"since": "2025-10-04T10:15:00Z", "changes": 1195}
    product.cluster.put(device_view("INV-001", maintenance=window, flapping=flapping))
    page = await watched.go("devices")
    badge = page.locator("tr.device .badge").first
    await expect(badge).to_have_attribute("title", re.compile(r"Maintenance window until .*onerror.*Flapping: 1,195 changes since"))
    await expect(badge).to_have_class("badge s-ONLINE untold")
    await page.locator("tr.device a").first.click()
    await expect(page.locator(".device-note")).to_contain_text("1,195 changes")
    product.cluster.put(device_view("INV-001"))
    await expect(page.locator(".device-note")).to_be_hidden()
    assert await page.evaluate("window.hacked") is None


async def test_what_devices_say_is_text_on_every_page(watched: Watched, product: Product) -> None:
    serial = XSS.replace("<", "0<", 1)
    alarm = {
        "alarmId": "0" * 32, "serialNumber": serial, "siteId": 1, "state": "RAISED", "title": XSS, "message": XSS, "severity": XSS, "raisedAt": "2025-10-04T10:15:00Z",
    }  # fmt: skip
    product.cluster.put(device_view(serial, deviceType=XSS, statusReason=XSS, errorCode=XSS, latest={"powerKw": 1, "x": 2}))
    product.cluster.alarms.append(alarm)
    await product.notify(XSS, message=XSS, severity=XSS, timestamp=XSS, serialNumber=serial)
    for path, shown in (
        ("devices?q=onerror", "0<img"),
        ("", "<img"),
        ("alarms", "<img"),
        ("notifications", "<img"),
        (f"devices/{quote(serial, safe='')}", "0<img"),
    ):
        page = await watched.go(path)
        await expect(page.locator("main")).to_contain_text(shown)
        assert await page.locator("main img").count() == 0
        assert await page.evaluate("window.hacked") is None
    await expect(page.locator("h1")).to_have_text(serial)
    assert await misplaced(page) == []


async def test_partial_answers_say_so(watched: Watched, product: Product) -> None:
    page = await watched.go("devices")
    await expect(page.locator("#count")).to_have_text("1,500 devices")
    await expect(page.locator("#banner")).to_be_hidden()
    product.cluster.workers[1].refuse_with = 503
    await expect(page.locator("#banner")).to_contain_text("2 of 4 partitions answer")
    product.cluster.workers[1].refuse_with = None
    await expect(page.locator("#banner")).to_be_hidden()


async def test_a_gateway_that_restarts_is_told_and_nothing_is_missed_or_doubled(watched: Watched, product: Product) -> None:
    page = await watched.go("notifications")
    before = f"before {uuid.uuid4().hex[:6]}"
    await product.notify(before)
    await expect(page.locator("#feed li", has_text=before)).to_have_count(1)
    await product.end()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    await expect(page.locator("#connection-text")).to_have_text("Reconnecting")
    titles = [f"while away {uuid.uuid4().hex[:6]}" for _ in range(3)]
    for title in titles:
        await product.notify(title)
    await product.start()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    for title in (before, *titles):
        await expect(page.locator("#feed li", has_text=title)).to_have_count(1)


async def test_old_data_is_called_stale_and_a_hidden_page_asks_for_nothing(watched: Watched, product: Product) -> None:
    page = await watched.go("devices")
    await expect(page.locator("#count")).to_have_text("1,500 devices")
    for worker in product.cluster.workers:
        worker.refuse_with = 503
    # Twelve seconds go by.
    await page.evaluate("const now = Date.now.bind(Date); Date.now = () => now() + 12000")
    await expect(page.locator("#connection")).to_have_attribute("data-state", "stale")
    await expect(page.locator("#banner")).to_contain_text("What is shown is old.")
    await expect(page.locator("tr.device").first).to_contain_text("INV-001")
    for worker in product.cluster.workers:
        worker.refuse_with = None
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    await page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await asyncio.sleep(0.5)
    asked = sum(len(worker.calls) for worker in product.cluster.workers) - _probes(product)
    await asyncio.sleep(2)
    assert sum(len(worker.calls) for worker in product.cluster.workers) - _probes(product) == asked
    await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    product.cluster.put(device_view("INV-001", power_kw=55.5))
    await expect(page.locator("tr.device").first).to_contain_text("55.5 kW")


def _probes(product: Product) -> int:
    """Calls that the gateway makes by itself."""
    return sum(call.startswith("/internal/v1/topology") for worker in product.cluster.workers for call in worker.calls)


async def test_colours_are_chosen_and_remembered(watched: Watched) -> None:
    page = await watched.go("")
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.click("#theme")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")


async def test_answers_carry_the_security_headers(browser: Browser, product: Product) -> None:
    page = await browser.new_page()
    for path in ("", "static/app.js", "api/v1/pipeline", "api/v1/nothing"):
        response = await page.request.get(product.url + path)
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "unsafe-inline" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
    await page.close()

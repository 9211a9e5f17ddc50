"""The probes of `make bench-latency`: devices of their own whose messages are timed from the publish to where people see them.

Probes start by a schedule, whatever became of those before them. A device has one on the way at a time; one that finds its device
busy is counted as postponed and not sent, one that is never seen is counted as lost. Times are those of this process alone.
"""

import asyncio
import contextlib
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from ems_streams.errors import EmsError
from ems_streams.mqtt.publisher import MqttPublisher

PROBE_DEVICES = 100
PROBES_PER_S = 40.0
POLL_INTERVAL_S = 0.003
POLLS_PER_S_MAX = 500.0
PROBE_SITE = 99
_METRIC = "probe"


@dataclass(slots=True)
class Seen:
    """A probe that arrived; times in seconds since 1970 by the wall clock, latency by the monotonic one."""

    serial_number: str
    published_at: float
    seen_at: float
    latency_ms: float


@dataclass(slots=True)
class Outcome:
    """What became of the probes of one stretch of time.

    Attributes:
        seen: Those that arrived.
        sent: All that were published.
        postponed: Those not sent, since the one before them was still on the way.
        failed: Those that the MQTT broker refused, or during which a request failed.
        lost: Those never seen.
        unmatched: What arrived and no probe was waiting for.
        polls: Requests made for them.
        gaps_ms: By how much at most each latency is too great: the time between the last look without and the first with.
    """

    seen: list[Seen] = field(default_factory=list)
    sent: int = 0
    postponed: int = 0
    failed: int = 0
    lost: int = 0
    unmatched: int = 0
    polls: int = 0
    gaps_ms: list[float] = field(default_factory=list)


class Probes(ABC):
    """Sends probes by a schedule, each from the next device.

    Args:
        publisher: A connection for probes only.
        prefix: How the serial numbers of its devices begin.
    """

    def __init__(self, publisher: MqttPublisher, prefix: str) -> None:
        self._publisher = publisher
        self.serial_numbers = [f"{prefix}-{index:03d}" for index in range(PROBE_DEVICES)]
        self._on_the_way: dict[str, asyncio.Task[None]] = {}
        self._devices = itertools.cycle(self.serial_numbers)
        self.outcome = Outcome()
        self.published = 0

    async def run(self, seconds: float) -> Outcome:
        """Send probes for so long; those still on the way are counted by `finish`."""
        self.outcome = outcome = Outcome()
        begun_s = time.monotonic()
        for index in range(int(seconds * PROBES_PER_S)):
            await asyncio.sleep(max(begun_s + index / PROBES_PER_S - time.monotonic(), 0))
            serial_number = next(self._devices)
            if serial_number in self._on_the_way:
                outcome.postponed += 1
                continue
            outcome.sent += 1
            self.published += 1
            self._start(serial_number, self._guarded(serial_number, outcome))
        return outcome

    async def finish(self, timeout_s: float) -> None:
        """Wait for what is on the way, and give up what is not there by then: lost."""
        if self._on_the_way:
            _, late = await asyncio.wait(list(self._on_the_way.values()), timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, serial_number: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._on_the_way[serial_number] = task
        task.add_done_callback(lambda _: self._on_the_way.pop(serial_number, None))

    async def _guarded(self, serial_number: str, outcome: Outcome) -> None:
        try:
            await self._probe(serial_number, outcome)
        except asyncio.CancelledError:
            outcome.lost += 1
            raise
        except (EmsError, aiohttp.ClientError, OSError):
            outcome.failed += 1

    async def _publish(self, serial_number: str, kind: str, payload: dict[str, Any]) -> None:
        await self._publisher.publish(f"sites/{PROBE_SITE}/devices/{serial_number}/{kind}", orjson.dumps(payload))

    @abstractmethod
    async def _probe(self, serial_number: str, outcome: Outcome) -> None:
        """Publish one message and wait until it is seen."""


class TableProbes(Probes):
    """MQTT publish -> the worker's live table: a telemetry value, and a GET of its device until it is there."""

    def __init__(self, publisher: MqttPublisher, session: aiohttp.ClientSession, worker_url: str) -> None:
        super().__init__(publisher, "PROBE-TABLE")
        self._session = session
        self._url = f"{worker_url}/api/v1/devices/"
        self._values = itertools.count(1)
        self._next_poll_s = 0.0

    async def _probe(self, serial_number: str, outcome: Outcome) -> None:
        value = float(next(self._values))
        published_at, begun_s = time.time(), time.perf_counter()
        publishing = asyncio.create_task(self._publish(serial_number, "telemetry", {_METRIC: value}))
        looked_s = begun_s
        try:
            while True:
                await self._turn()
                outcome.polls += 1
                there = await self.value(serial_number) == value
                now_s = time.perf_counter()
                if there:
                    break
                looked_s = now_s
                await asyncio.sleep(POLL_INTERVAL_S)
            await publishing
        finally:
            publishing.cancel()
        outcome.gaps_ms.append((now_s - looked_s) * 1000)
        outcome.seen.append(Seen(serial_number, published_at, published_at + now_s - begun_s, (now_s - begun_s) * 1000))

    async def value(self, serial_number: str) -> float | None:
        """The value that the live table has."""
        async with self._session.get(self._url + serial_number) as response:
            body = await response.read()
        if response.status == 200:
            latest: float | None = orjson.loads(body)["latest"].get(_METRIC)
            return latest
        if response.status == 404:
            return None
        raise aiohttp.ClientPayloadError(f"the worker answers {response.status}")

    async def _turn(self) -> None:
        """So many looks a second and not more, however many probes are on the way: they must not become the load."""
        now_s = time.monotonic()
        self._next_poll_s = max(self._next_poll_s + 1 / POLLS_PER_S_MAX, now_s)
        if self._next_poll_s - now_s > POLL_INTERVAL_S / 2:
            await asyncio.sleep(self._next_poll_s - now_s)


class SocketProbes(Probes):
    """MQTT publish -> the gateway's WebSocket: a status report, ONLINE and OFFLINE in turn, and the notification of it."""

    def __init__(self, publisher: MqttPublisher, session: aiohttp.ClientSession, gateway_url: str) -> None:
        super().__init__(publisher, "PROBE-SOCKET")
        self._session = session
        self._url = f"{gateway_url}/ws/notifications"
        self._statuses = {serial_number: itertools.cycle(("ONLINE", "OFFLINE")) for serial_number in self.serial_numbers}
        self._waiting: dict[tuple[str, str], asyncio.Future[float]] = {}
        self.notifications = 0
        self.closed: str | None = None

    async def listen(self, connected: asyncio.Event) -> None:
        """Read the WebSocket until it is closed; `closed` says then why."""
        async with self._session.ws_connect(self._url, heartbeat=10.0) as connection:
            connected.set()
            async for message in connection:
                now_s = time.perf_counter()
                self.notifications += 1
                notification = orjson.loads(message.data)["notification"]
                self._take(notification["serialNumber"], notification["data"].get("newStatus", ""), now_s)
        self.closed = f"the WebSocket was closed with {connection.close_code}"

    def _take(self, serial_number: str, status: str, now_s: float) -> None:
        future = self._waiting.pop((serial_number, status), None)
        if future is not None and not future.done():
            future.set_result(now_s)
        elif serial_number in self._statuses:
            self.outcome.unmatched += 1

    async def _probe(self, serial_number: str, outcome: Outcome) -> None:
        status = next(self._statuses[serial_number])
        seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[serial_number, status] = seen
        published_at, begun_s = time.time(), time.perf_counter()
        publishing = asyncio.create_task(self._publish(serial_number, "status", {"status": status, "reason": "Probe"}))
        try:
            now_s = await seen
            await publishing
        finally:
            publishing.cancel()
            self._waiting.pop((serial_number, status), None)
        outcome.seen.append(Seen(serial_number, published_at, published_at + now_s - begun_s, (now_s - begun_s) * 1000))


@contextlib.asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that keeps its connections."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session

"""Requests at a steady rate, whether they are answered or not, each timed from when it was due."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from benchmarks.latency_stages import percentile
from benchmarks.reads_truth import Truth, serial_of

MIX = (("device", 60), ("aggregates", 30), ("list", 10))
"""Routes, with their shares in percent."""
LIST_LIMIT = 100
DEADLINE_S = 10.0


@dataclass(slots=True)
class Stretch:
    """What was asked for in a stretch of time.

    Attributes:
        latencies_ms: By route, of answers of 200, from when the request was due.
        statuses: How many answers of which route and status; 0 is none at all.
        late: Requests that began more than 10 ms after they were due.
        incomplete: Lists that said that partitions are missing.
    """

    name: str
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    late: int = 0
    incomplete: int = 0
    seconds: float = 0.0

    def view(self) -> dict[str, Any]:
        """For the result."""
        routes = {
            route: {"answers": len(values), **{f"p{percent}_ms": round(percentile(values, percent), 2) for percent in (50, 99, 100)}}
            for route, values in sorted(self.latencies_ms.items())
        }
        return {
            "name": self.name, "seconds": round(self.seconds, 1), "requests": self.statuses.total(), "routes": routes,
            "statuses": dict(sorted(self.statuses.items())), "late": self.late, "listsThatSayWhatIsMissing": self.incomplete,
        }  # fmt: skip


class Reader:
    """Asks a gateway.

    Args:
        session: Of its own.
        url: Of the gateway.
        rate: Requests per second.
        truth: What answers are held against.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, rate: float, truth: Truth) -> None:
        self._session = session
        self._url = url
        self._rate = rate
        self._truth = truth
        self._random = random.Random(11)
        self._routes = [route for route, share in MIX for _ in range(share)]

    async def run(self, stretch: Stretch, until: asyncio.Event) -> None:
        """Ask until `until` is set; returns when everything that was asked is answered."""
        begun_s, number = time.perf_counter(), 0
        asked: set[asyncio.Task[None]] = set()
        while not until.is_set():
            due_s = begun_s + number / self._rate
            await asyncio.sleep(max(due_s - time.perf_counter(), 0))
            stretch.late += time.perf_counter() - due_s > 0.01
            task = asyncio.create_task(self._ask(stretch, due_s))
            asked.add(task)
            task.add_done_callback(asked.discard)
            number += 1
        stretch.seconds = time.perf_counter() - begun_s
        await asyncio.gather(*asked)

    async def _ask(self, stretch: Stretch, due_s: float) -> None:
        route = self._random.choice(self._routes)
        serial = serial_of(self._random.randrange(self._truth.devices))
        status, body = await self._answer(route, serial)
        took_ms = (time.perf_counter() - due_s) * 1000
        stretch.statuses[f"{route} {status}"] += 1
        if status == 200:
            stretch.latencies_ms.setdefault(route, []).append(took_ms)
        if route == "list" and status == 200:
            stretch.incomplete += body["partitionsAnswered"] < body["partitionsTotal"]
        self._truth.check(route, serial, status, body)

    async def _answer(self, route: str, serial: str) -> tuple[int, Any]:
        paths = {
            "device": f"/api/v1/devices/{serial}",
            "aggregates": f"/api/v1/devices/{serial}/aggregates?window=1m&limit=5",
            "list": f"/api/v1/devices?limit={LIST_LIMIT}",
        }
        try:
            async with self._session.get(self._url + paths[route], timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as response:
                return response.status, orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return 0, repr(error)

    async def counts(self, serials: list[str]) -> dict[str, int]:
        """Messages that were counted of devices, one after the other."""
        found = {}
        for serial in serials:
            status, body = await self._answer("aggregates", serial)
            found[serial] = min(each["count"] for each in body["total"]["metrics"].values()) if status == 200 else -1
        return found

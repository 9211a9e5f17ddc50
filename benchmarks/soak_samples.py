"""What `make soak` looks at every few seconds: each process from outside and by its own metrics, and what waits between them."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.soak_deployment import SERVERS, Deployment

MIB = 1024 * 1024
_SCRAPE_TIMEOUT_S = 10.0
_READ_AT_ONCE = 1 << 20

Key = tuple[str, str]
"""Who, and what of it; what is of nobody in particular belongs to `pipeline`."""
PIPELINE = "pipeline"
MQTT_BACKLOG = "MQTT backlog"
PUBLISHED = "published"


@dataclass(slots=True)
class Series:
    """Values over time, in seconds since the load began."""

    points: dict[Key, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, at_s: float, look: dict[Key, float]) -> None:
        for key, value in look.items():
            self.points.setdefault(key, []).append((at_s, value))

    @property
    def last_s(self) -> float:
        """When the last look was; 0 without one."""
        return max((points[-1][0] for points in self.points.values()), default=0.0)

    def since(self, key: Key, at_s: float) -> list[tuple[float, float]]:
        return [point for point in self.points.get(key, ()) if point[0] >= at_s]

    def whose(self, quantity: str) -> list[str]:
        """Who has it."""
        return [who for who, what in self.points if what == quantity]

    def named(self, who: str) -> list[str]:
        """What there is of somebody."""
        return [what for name, what in self.points if name == who]


class Sampler:
    """Looks at everything once per call of `look`."""

    def __init__(self, deployment: Deployment, session: aiohttp.ClientSession) -> None:
        self._deployment = deployment
        self._session = session
        self._ledger = LineCounter(deployment.ledger)
        logs = deployment.directory / "data" / "logs"
        # What people do is logged, a line for each command, and is not what a process has to say of itself.
        self._logs = {name: LineCounter(logs / f"{name}.log", without=b"] audit ") for name in deployment.health_ports}
        self._cpu_s: dict[str, tuple[float, float]] = {}

    async def look(self, at_s: float) -> dict[Key, float]:
        """All values now; a process that is gone or does not answer has none."""
        found: dict[Key, float] = {}
        for name, pid in (self._deployment.pids | {"soak": os.getpid()}).items():
            with contextlib.suppress(psutil.Error):
                found |= {(name, what): value for what, value in self._process(name, pid, at_s)}
        published = self._ledger.count()
        ingested, lags = 0.0, dict[str, float]()
        for name, port in self._deployment.health_ports.items():
            for sample, labels, value in await self._scrape(port):
                if sample == "ems_gc_collections_total":
                    whats = ["GC runs"] + (["full GC runs"] if labels["generation"] == "2" else [])
                    for what in whats:
                        found[name, what] = found.get((name, what), 0.0) + value
                elif sample == "ems_ingress_messages_total" and (labels["kind"], labels["outcome"]) == ("telemetry", "accepted"):
                    ingested += value
                elif (place := _lag_of(name, sample, labels)) is not None:
                    lags[place] = lags.get(place, 0.0) + value
                elif sample in _GAUGES:
                    found[PIPELINE, _GAUGES[sample]] = found.get((PIPELINE, _GAUGES[sample]), 0.0) + value
                elif sample in _MEMORY_GAUGES:
                    found[name, _MEMORY_GAUGES[sample]] = found.get((name, _MEMORY_GAUGES[sample]), 0.0) + value / MIB
        found[PIPELINE, PUBLISHED] = published
        found[PIPELINE, MQTT_BACKLOG] = max(0.0, published - ingested)
        found |= {(PIPELINE, f"lag {place}"): value for place, value in lags.items()}
        found |= {(name, "log lines"): counter.count() for name, counter in self._logs.items()}
        found |= {(name, "store MiB"): size_bytes(path) / MIB for name, path in self._deployment.stores.items()}
        return found

    def _process(self, name: str, pid: int, at_s: float) -> Iterator[tuple[str, float]]:
        process = psutil.Process(pid)
        # A server of several processes is all of them; each of ours is one, and its children are somebody else's.
        parts = [process, *process.children(recursive=True)] if name in SERVERS else [process]
        rss, handles, threads, cpu_s = 0.0, 0, 0, 0.0
        for part in parts:
            with contextlib.suppress(psutil.NoSuchProcess), part.oneshot():
                times = part.cpu_times()
                rss += part.memory_info().rss
                handles += part.num_fds()
                threads += part.num_threads()
                cpu_s += times.user + times.system
        yield "RSS MiB", rss / MIB
        yield "handles", handles
        yield "threads", threads
        before = self._cpu_s.get(name)
        self._cpu_s[name] = (at_s, cpu_s)
        if before is not None and at_s > before[0]:
            yield "cores", max(0.0, (cpu_s - before[1]) / (at_s - before[0]))

    async def _scrape(self, port: int) -> list[tuple[str, dict[str, str], float]]:
        try:
            timeout = aiohttp.ClientTimeout(total=_SCRAPE_TIMEOUT_S)
            async with self._session.get(f"http://127.0.0.1:{port}/metrics", timeout=timeout) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return []
        wanted = "\n".join(line for line in text.splitlines() if line.startswith(_WANTED)) + "\n"
        return list(_samples(wanted))


_GAUGES = {
    "ems_websocket_clients": "WebSocket clients",
    "ems_mqtt_buffered_messages": "buffered in ingress",
    "ems_uncommitted_states": "uncommitted states",
    "ems_channel_open_chains": "open deliveries",
}
_MEMORY_GAUGES = {
    "ems_cached_state_bytes": "MiB of states",
    "ems_store_buffer_bytes": "MiB of write buffers",
    "ems_store_cache_bytes": "MiB of block cache",
}
_WANTED = ("ems_gc_", "ems_ingress_messages_total", "ems_consumer_lag_records", "ems_channel_lag_records", *_GAUGES, *_MEMORY_GAUGES)


def _samples(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def _lag_of(process: str, sample: str, labels: dict[str, str]) -> str | None:
    """What a lag counts for: a group's lag on a topic, over all partitions and members."""
    if sample == "ems_consumer_lag_records":
        return f"{process.partition('-')[0]} {labels['topic']}"
    return f"notifier {labels['channel']}" if sample == "ems_channel_lag_records" else None


class LineCounter:
    """Counts the lines of a file that grows, reading each part of it once.

    Args:
        without: Lines with this in them do not count.
    """

    def __init__(self, path: Path, without: bytes | None = None) -> None:
        self._path = path
        self._without = without
        self._read_bytes = 0
        self._lines = 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                while piece := file.read(_READ_AT_ONCE):
                    self._read_bytes += len(piece)
                    self._lines += piece.count(b"\n")
                    if self._without is not None:
                        self._lines -= piece.count(self._without)
        return self._lines


def size_bytes(directory: Path) -> int:
    """Of all files below; one that is removed meanwhile counts nothing."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512 if path.is_file() else 0
    return total

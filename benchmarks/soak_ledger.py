"""Whether `make soak` lost or doubled anything: the simulator's ledger beside the live tables, PostgreSQL, the dead letters and the commands."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.soak_deployment import Deployment
from benchmarks.soak_visitors import END_STATES, Visitors
from ems_streams.dev.simulator import Totals, read_ledger, totals

SETTLED_WITHIN_S = 300.0
CLOSED_AFTER = timedelta(seconds=90)
"""So long before the last message a minute has certainly ended, with the lateness that its window waits for."""
_STATISTICS = ("count", "sum", "min", "max", "last")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """One comparison.

    Attributes:
        differences: Some of them, in words.
        took_s: Until it held, from the question on.
    """

    what: str
    expected: int
    found: int
    differences: tuple[str, ...] = ()
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.expected == self.found and not self.differences


@dataclass(frozen=True, slots=True)
class Truth:
    """What the broker has acknowledged."""

    by_device: dict[str, dict[str, Totals]]
    by_minute: Counter[tuple[str, str]]
    poison: int
    unacknowledged: int


def read_truth(ledger: Path) -> Truth:
    """All of a ledger; some minutes of processor time for millions of lines."""
    by_minute: Counter[tuple[str, str]] = Counter()
    for entry in read_ledger(ledger):
        if "metrics" in entry:
            by_minute[entry["serialNumber"], entry["timestamp"][:16]] += 1
    beside = [Path(f"{ledger}{suffix}") for suffix in (".poison", ".unacknowledged")]
    counts = [sum(1 for _ in read_ledger(path)) if path.exists() else 0 for path in beside]
    return Truth(totals(ledger), by_minute, *counts)


async def check_all(deployment: Deployment, visitors: Visitors, session: aiohttp.ClientSession, truth: Truth) -> list[Checked]:
    """Each comparison is made again until it holds, for at most `SETTLED_WITHIN_S`."""
    found = [Checked("messages of which nobody knows whether the broker has them", 0, truth.unacknowledged)]
    found.append(await _until_right(lambda: _live(deployment, session, truth)))
    found.append(await _until_right(lambda: _minutes(deployment, truth)))
    found.append(await _until_right(lambda: _dead_letters(deployment, session, truth)))
    found.append(await _until_right(lambda: _commands(visitors, session)))
    return found


async def _until_right(look: Callable[[], Awaitable[Checked]]) -> Checked:
    begun_s = time.monotonic()
    while True:
        found = await look()
        took_s = time.monotonic() - begun_s
        if found.ok or took_s > SETTLED_WITHIN_S:
            return Checked(found.what, found.expected, found.found, found.differences, took_s)
        await asyncio.sleep(2.0)


async def _live(deployment: Deployment, session: aiohttp.ClientSession, truth: Truth) -> Checked:
    """Count, sum, min, max and last of every metric of every device, to the bit."""
    wrong, counted = [], 0
    for serial, metrics in truth.by_device.items():
        async with session.get(f"{deployment.gateway_url}/api/v1/devices/{serial}/aggregates?window=1m&limit=1") as answer:
            body: dict[str, Any] = await answer.json()
        live = body.get("total", {}).get("metrics", {})
        counted += sum(each["count"] for each in live.values())
        if difference := _difference(metrics, live):
            wrong.append(f"{serial}: {difference}")
    expected = sum(each.count for metrics in truth.by_device.values() for each in metrics.values())
    return Checked("values in the live tables", expected, counted, tuple(wrong[:_SHOWN]))


def _difference(metrics: dict[str, Totals], live: dict[str, Any]) -> str:
    for name, true in metrics.items():
        said = live.get(name, {})
        for statistic in _STATISTICS:
            if said.get(statistic) != getattr(true, statistic):
                return f"{name}.{statistic} {said.get(statistic)!r} instead of {getattr(true, statistic)!r}"
    return ""


async def _minutes(deployment: Deployment, truth: Truth) -> Checked:
    """How many messages each minute of each device has in PostgreSQL, of minutes that have closed."""
    last = max(minute for _, minute in truth.by_minute)
    before = (datetime.fromisoformat(f"{last}:00+00:00") - CLOSED_AFTER).replace(second=0)
    connection = await asyncpg.connect(deployment.database_url)
    try:
        rows = await connection.fetch(
            "SELECT serial_number, window_start, event_count FROM device_aggregates WHERE window_size = '1m' AND window_start < $1", before
        )
    finally:
        await connection.close()
    stored = {(row["serial_number"], f"{row['window_start'].astimezone(UTC):%Y-%m-%dT%H:%M}"): row["event_count"] for row in rows}
    wanted = {key: count for key, count in truth.by_minute.items() if key[1] < f"{before:%Y-%m-%dT%H:%M}"}
    wrong = [f"{key}: {stored.get(key, 0)} instead of {count}" for key, count in wanted.items() if stored.get(key) != count]
    strange = [f"{key}: nobody sent it" for key in stored.keys() - wanted.keys()]
    return Checked(
        "messages in closed minutes in PostgreSQL", sum(wanted.values()), sum(stored.values()), tuple((wrong + strange)[:_SHOWN])
    )


async def _dead_letters(deployment: Deployment, session: aiohttp.ClientSession, truth: Truth) -> Checked:
    async with session.get(f"http://127.0.0.1:{deployment.ports.ingress}/metrics") as answer:
        text = await answer.text()
    found = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ems_ingress_messages_total" and sample.labels["outcome"] == "dead_letter"
    )
    return Checked("malformed messages in the dead letters", truth.poison, int(found))


async def _commands(visitors: Visitors, session: aiohttp.ClientSession) -> Checked:
    ends = await visitors.ends_of_commands(session)
    open_ones = {state: count for state, count in ends.items() if state not in END_STATES}
    said = (f"{json.dumps(open_ones)}",) if open_ones else ()
    return Checked("commands that have an end", len(visitors.commands), sum(_final(ends)), said)


def _final(ends: Counter[str]) -> Iterable[int]:
    return (count for state, count in ends.items() if state in END_STATES)

"""A day of a fleet at full speed: every window in PostgreSQL is what an independent calculation says, also with the sink killed on the way."""

import asyncio
import json
import math
import time
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.chaos.day import DAY_S, START, Day, Expected, windows_count, windows_of
from tests.chaos.harness import SEED, System, sized
from tests.chaos.results import Finding, verdict

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

INTERVAL_S = 30
QUANTILE_ERROR = 0.0101
SINK_KILLS = 5
QUIET_S = 40.0  # longer than a killed sink's session, and a rebalance, and a pause of its circuit breaker
_END = START + timedelta(seconds=DAY_S)


def differences(row: Any, wanted: Expected) -> list[str]:
    """What a stored window says otherwise."""
    metrics = json.loads(row["metrics"])
    found = [] if row["event_count"] == wanted.events else [f"events {row['event_count']} instead of {wanted.events}"]
    for name, statistics in wanted.metrics.items():
        for statistic, value in statistics.items():
            exact = statistic in ("count", "sum", "min", "max", "last")
            seen = metrics[name][statistic]
            if not (seen == value if exact else math.isclose(seen, value, rel_tol=1e-9, abs_tol=1e-9)):
                found.append(f"{name}.{statistic} {seen} instead of {value}")
        for quantile, value in wanted.quantiles[name].items():
            if abs(metrics[name][quantile] - value) > QUANTILE_ERROR * abs(value) + 1e-9:
                found.append(f"{name}.{quantile} {metrics[name][quantile]} instead of {value}")
    seen_kwh, kwh = row["energy_kwh"], wanted.energy_kwh
    if (seen_kwh is None) != (kwh is None) or (kwh is not None and not math.isclose(seen_kwh, kwh, rel_tol=1e-9, abs_tol=1e-9)):
        found.append(f"energy {seen_kwh} instead of {kwh}")
    return found


async def rows_of(url: str, prefix: str) -> dict[tuple[str, str, Any], Any]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT * FROM device_aggregates WHERE starts_with(serial_number, $1) AND window_start < $2 AND time_zone = ''", prefix, _END
        )
        return {(row["serial_number"], row["window_size"], row["window_start"]): row for row in rows}
    finally:
        await connection.close()


def judged(url: str, day: Day) -> tuple[int, list[str]]:
    """How many windows there have to be, and what is wrong with those that are there."""
    rows = asyncio.run(rows_of(url, f"DAY-{day.seed}-"))
    wanted, wrong = 0, []
    for device in range(day.devices):
        serial = day.serial(device)
        for label, start, expected in windows_of(day.messages_of(device)):
            wanted += 1
            row = rows.pop((serial, label, start), None)
            problems = ["missing"] if row is None else differences(row, expected)
            wrong += [f"{serial} {label} {start:%H:%M}: {problem}" for problem in problems]
    wrong += [f"{serial} {label} {start}: not wanted" for serial, label, start in rows]
    return wanted, wrong


def test_history(system: System) -> None:
    deployed = system.deployment
    system.start(ingresses=0, workers=1)
    system.add("sink-0", deployed.sink)
    system.wait_ready()
    for number, struck in ((1, False), (2, True)):
        day = Day(sized(500, 40), INTERVAL_S, SEED % 10_000 * 10 + number)
        started_s = time.monotonic()
        messages = day.publish(deployed.stack.kafka_bootstrap, deployed.partitions)
        if struck:
            _strike(system)
        _wait_until_quiet(system, day)
        took_s = time.monotonic() - started_s - QUIET_S
        wanted, wrong = judged(deployed.stack.database_url, day)
        print(*wrong[:20], sep="\n")
        verdict(
            "a day in PostgreSQL",
            Finding(
                {"windows": wanted, "wrong": 0}, {"windows": wanted, "wrong": len(wrong)}, f"{messages / took_s:,.0f} messages/s in all"
            ),
            load=f"{messages} messages of {day.devices} devices over 24 h of event time",
            faults=system.tell_faults(),
        )


def _wait_until_quiet(system: System, day: Day) -> None:
    """Wait until as much is there as must be, and nothing has been written for a while; what is there is for the judgement to say."""
    url, last, since_s = system.deployment.stack.database_url, None, time.monotonic()
    wanted = sum(windows_count(day.messages_of(device)) for device in range(day.devices))

    def quiet() -> bool:
        nonlocal last, since_s
        found = asyncio.run(_written(url, f"DAY-{day.seed}-"))
        if found != last:
            last, since_s = found, time.monotonic()
        return found[0] >= wanted and time.monotonic() - since_s > QUIET_S

    system.settled(quiet, timeout_s=900)


async def _written(url: str, prefix: str) -> tuple[int, int]:
    """How many windows there are, and all their revisions together."""
    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError):
        return 0, 0
    try:
        row = await connection.fetchrow(
            "SELECT count(*), coalesce(sum(revision), 0) FROM device_aggregates WHERE starts_with(serial_number, $1)", prefix
        )
        return row[0], row[1]
    finally:
        await connection.close()


def _strike(system: System) -> None:
    """Kill the sink, and let PostgreSQL restart in the middle of it."""
    for kill in range(SINK_KILLS):
        system.run_for(2.0 + system.random.random() * 3)
        system["sink-0"].kill()
        system.faults["sink kill -9"] += 1
        if kill == SINK_KILLS // 2:
            asyncio.run(system.deployment.stack.postgres.stop())
            system.run_for(3.0)
            asyncio.run(system.deployment.stack.postgres.start())
            system.faults["PostgreSQL restarts"] += 1
    system.wait_ready()

"""A day of a fleet, replayed beside a live system: it tells nobody, finds what a changed constant concerns, and becomes live when it is promoted."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiomqtt
import pytest

from ems_streams.dev.ports import LOOPBACK
from ems_streams.domain.events import format_time
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_COMMAND_EVENTS, DEVICE_COMMANDS, DEVICE_NOTIFICATIONS, DEVICE_STATUS
from tests.chaos.day import DAY_S, START, Day, windows_across_gaps, windows_of
from tests.chaos.harness import SEED, System, sized
from tests.chaos.results import Finding, verdict
from tests.support.processes import Deployment
from tests.support.replay import counts, json_of, last_windows

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

INTERVAL_S = 30
CHANGED_GAP_S = 59
"""As in the program that replays with another gap; of 30 s on average, few gaps are longer."""
SIDE_EFFECTS = (DEVICE_NOTIFICATIONS, DEVICE_STATUS, DEVICE_COMMANDS, DEVICE_COMMAND_EVENTS)
RANGE = ("--from", format_time(START), "--to", format_time(START + timedelta(seconds=DAY_S)))

Found = set[tuple[str, str, str]]


def test_replay(system: System) -> None:
    deployed = system.deployment
    system.start(ingresses=0, workers=1)
    day = Day(sized(500, 20), INTERVAL_S, SEED % 10_000 * 10 + 3)
    messages = day.publish(deployed.stack.kafka_bootstrap, deployed.partitions)
    days = {(day.serial(device), "1d", format_time(START)) for device in range(day.devices)}
    assert system.settled(lambda: days <= live_windows(deployed).keys(), timeout_s=600), "the day is closed in live"
    before = counts(deployed, *SIDE_EFFECTS)
    (wanted, found, measured), heard = asyncio.run(listening(deployed, lambda: replayed(system, day)))
    after = counts(deployed, *SIDE_EFFECTS)
    verdict(
        "a day replayed",
        Finding(
            {**wanted, "MQTT messages beside our own": 0, "notifications, statuses, commands": 0},
            {
                **found,
                "MQTT messages beside our own": heard - 1,
                "notifications, statuses, commands": sum(after.values()) - sum(before.values()),
            },
            f"{messages / measured:,.0f} messages/s",
        ),
        load=f"{messages} messages of {day.devices} devices over 24 h of event time",
        faults=system.tell_faults(),
    )


def live_windows(deployed: Deployment) -> dict[tuple[str, str, str], dict[str, Any]]:
    return last_windows(deployed.stack.kafka_bootstrap, DEVICE_AGGREGATES)


async def listening(deployed: Deployment, work: Callable[[], Any]) -> tuple[Any, int]:
    """The result of `work`, and how many MQTT messages anybody published meanwhile; one is ours, to show that none is missed."""
    heard = 0

    async def count(received: AsyncIterator[Any]) -> None:
        nonlocal heard
        async for _ in received:
            heard += 1

    async with aiomqtt.Client(hostname=LOOPBACK, port=deployed.stack.ports.mqtt, identifier="listener") as client:
        await client.subscribe("#")
        counting = asyncio.create_task(count(client.messages()))
        await client.publish("probe", b"", qos=aiomqtt.QoS.AT_LEAST_ONCE, packet_id=next(client.packet_ids))
        result = await asyncio.to_thread(work)
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    return result, heard


def replayed(system: System, day: Day) -> tuple[dict[str, Any], dict[str, Any], float]:
    """What must hold of the replays of a day, what does, and how many seconds the first took."""
    deployed = system.deployment
    windows = {(day.serial(device), label, format_time(start)) for device in range(day.devices) for label, start in labels(day, device)}
    started_s = time.monotonic()
    json_of(deployed.command("replay", "start", "--into", "same", *RANGE, "--json", timeout_s=900))
    took_s = time.monotonic() - started_s
    compared = json_of(deployed.command("replay", "diff", "same", "--json", timeout_s=600, check=False))

    start_with_changed_gap(deployed)
    different = json_of(deployed.command("replay", "diff", "changed", "--json", timeout_s=600, check=False))["findings"]
    concerned = {
        (day.serial(device), label, format_time(start))
        for device in range(day.devices)
        for label, start in windows_across_gaps(day.messages_of(device), CHANGED_GAP_S)
    }

    live_before = live_windows(deployed)
    promoted = json_of(deployed.command("replay", "promote", "changed", "--json", timeout_s=600))
    same_by_then = system.settled(
        lambda: deployed.command("replay", "diff", "changed", timeout_s=600, check=False).returncode == 0, timeout_s=300
    )
    live_after = live_windows(deployed)
    revised = {key for key, window in live_after.items() if window != live_before.get(key)}
    wanted = {
        "same: windows compared": len(windows),
        "same: identical": True,
        "changed: windows that differ": len(concerned),
        "changed: others": 0,
        "promoted": len(concerned),
        "live equals the shadow": True,
        "revised in live": len(concerned),
        "revised in live: others": 0,
    }
    found = {
        "same: windows compared": compared["counts"]["same"],
        "same: identical": compared["identical"],
        "changed: windows that differ": len(keys_of(different) & concerned),
        "changed: others": len(keys_of(different) ^ concerned),
        "promoted": promoted["windows"],
        "live equals the shadow": bool(same_by_then),
        "revised in live": len(revised & concerned),
        "revised in live: others": len(revised - concerned),
    }
    return wanted, found, took_s


def labels(day: Day, device: int) -> list[tuple[str, Any]]:
    return [(label, start) for label, start, _ in windows_of(day.messages_of(device))]


def keys_of(findings: list[dict[str, Any]]) -> Found:
    return {(each["serialNumber"], each["window"], each["windowStart"]) for each in findings}


def start_with_changed_gap(deployed: Deployment) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.replay_programs",
            f"gap-of-{CHANGED_GAP_S}-s",
            "replay",
            "start",
            "--into",
            "changed",
            *RANGE,
        ],
        env=deployed.environment(),
        check=True,
        capture_output=True,
        timeout=900,
    )

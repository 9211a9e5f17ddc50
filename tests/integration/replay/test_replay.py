"""Replays on real Kafka: what they read, what they publish, and that a killed one goes on."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ems_streams.domain.events import format_time
from ems_streams.kafka.catalogue import (
    DEVICE_AGGREGATES,
    DEVICE_COMMAND_EVENTS,
    DEVICE_COMMANDS,
    DEVICE_NOTIFICATIONS,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TELEMETRY_LATE,
    SITE_AGGREGATES,
    SITE_PARTS,
    WINDOW_PROMOTIONS,
    dlt_of,
)
from ems_streams.replay.topics import shadow_topic
from tests.integration.replay.conftest import BEGIN, GAP, Fleet
from tests.support.processes import eventually
from tests.support.replay import counts, json_of, last_windows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OUTSIDE = (
    DEVICE_AGGREGATES,
    DEVICE_COMMANDS,
    DEVICE_COMMAND_EVENTS,
    DEVICE_NOTIFICATIONS,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TELEMETRY_LATE,
    SITE_AGGREGATES,
    SITE_PARTS,
    WINDOW_PROMOTIONS,
    dlt_of(DEVICE_TELEMETRY),
)


def test_a_replay_of_what_live_has_counted_is_finished_and_tells_nobody(fleet: Fleet) -> None:
    before = counts(fleet.deployment, *OUTSIDE)
    done = json_of(fleet.deployment.command("replay", "start", "--into", "same", *fleet.range, "--json"))
    assert done["state"] == "finished"
    assert done["eventsRead"] == done["eventsTotal"] > 0
    assert done["windows"] > 0
    assert done["putAside"] == 0
    assert done["keptToItself"] == {dlt_of(DEVICE_TELEMETRY): 1, DEVICE_TELEMETRY_LATE: 1}
    assert counts(fleet.deployment, *OUTSIDE) == before
    found = json_of(fleet.deployment.command("replay", "diff", "same", "--json"))
    assert (found["identical"], found["findings"]) == (True, [])
    assert {each["window"]: each["count"] for each in found["windows"] if each["window"] in {"15m", "1h"}} == {
        "15m": 24 * len(fleet.serials),
        "1h": 6 * len(fleet.serials),
    }
    # A quarter at each end, and the hour at the beginning; the one at the end is open in both.
    assert {kind: count for kind, count in found["partlyCovered"].items() if kind in {"1m", "15m", "1h"}} == {
        "15m": 2 * len(fleet.serials),
        "1h": len(fleet.serials),
    }


def test_with_one_constant_changed_the_diff_names_the_windows_that_it_concerns_and_no_others(fleet: Fleet) -> None:
    """Power over the one gap of the fleet, three minutes long, is believed by live and not by the replay."""
    replay_with("gap-of-60-s", fleet, "replay", "start", "--into", "changed", *fleet.range, "--json")
    compared = fleet.deployment.command("replay", "diff", "changed", "--json", check=False)
    assert compared.returncode == 1
    found = json_of(compared)["findings"]
    assert {(each["serialNumber"], each["window"], each["windowStart"]) for each in found} == {
        (fleet.serials[0], "1m", format_time(GAP[0])),
        (fleet.serials[0], "15m", format_time(BEGIN + timedelta(hours=2))),
        (fleet.serials[0], "1h", format_time(BEGIN + timedelta(hours=2))),
    }
    assert {each["verdict"] for each in found} == {"different"}
    assert {field for each in found for field in each["fields"]} <= {"energyKwh", "energyQuality", "energyCoveredShare"}
    table = fleet.deployment.command("replay", "diff", "changed", "--limit", "1", check=False)
    assert table.returncode == 1
    assert table.stdout.count(fleet.serials[0]) == 1


def replay_with(what: str, fleet: Fleet, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.support.replay_programs", what, *arguments],
        env=fleet.deployment.environment(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )


def status(fleet: Fleet, name: str) -> dict[str, Any]:
    return json_of(fleet.deployment.command("replay", "status", name, "--json"))


def contents(fleet: Fleet, topic: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What the fleet's windows say; how often they were corrected on the way is of no concern."""
    said = last_windows(fleet.deployment.stack.kafka_bootstrap, topic)
    aside = {"eventId", "revision"}
    return {key: {name: value for name, value in window.items() if name not in aside} for key, window in said.items()}


def test_a_replay_killed_in_the_middle_goes_on_and_counts_nothing_twice(fleet: Fleet) -> None:
    arguments = ["replay", "start", "--into", "killed", *fleet.range, "--json"]
    slow = subprocess.Popen(
        [sys.executable, "-m", "tests.support.replay_programs", "slowly", *arguments],
        env=fleet.deployment.environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: fleet.deployment.command("replay", "status", "killed", check=False).returncode == 0, 30, "the replay is defined")
        eventually(lambda: status(fleet, "killed")["eventsRead"] > 1000, 90, "the replay is under way")
        assert slow.poll() is None
    finally:
        slow.kill()
        slow.wait(10)
    interrupted = status(fleet, "killed")
    assert interrupted["state"] == "started"
    assert 0 < interrupted["eventsRead"] < interrupted["eventsTotal"]
    done = json_of(fleet.deployment.command("replay", "start", "--into", "killed", "--processes", "2", "--json"))
    assert (done["state"], done["eventsRead"]) == ("finished", interrupted["eventsTotal"])
    shadow = contents(fleet, shadow_topic(fleet.deployment.application_id, "killed"))
    live = contents(fleet, DEVICE_AGGREGATES)
    inside = {key: window for key, window in live.items() if key[1] in {"15m", "1h"} and window["windowStart"] >= fleet.range[1]}
    inside = {key: window for key, window in inside.items() if window["windowEnd"] <= fleet.range[3]}
    assert len(inside) == len(fleet.serials) * (24 + 6)
    assert {key: shadow.get(key) for key in inside} == inside


def test_a_deleted_replay_leaves_no_topics_behind(fleet: Fleet) -> None:
    fleet.deployment.command("replay", "start", "--into", "gone", *fleet.range, "--devices", fleet.serials[0], "--json")
    assert {key[0] for key in contents(fleet, shadow_topic(fleet.deployment.application_id, "gone"))} == {fleet.serials[0]}
    deleted = json_of(fleet.deployment.command("replay", "delete", "gone", "--json"))["deletedTopics"]
    assert len(deleted) == 4
    topics = {each["topic"] for each in json_of(fleet.deployment.command("topics", "list", "--json"))}
    assert not topics & set(deleted)
    assert "gone" not in {each["name"] for each in json_of(fleet.deployment.command("replay", "list", "--json"))}
    assert list(fleet.deployment.directory.glob("**/replay-gone*")) == []


def test_what_is_promoted_is_live_as_a_next_revision_and_once(fleet: Fleet) -> None:
    command = fleet.deployment.command
    replay_with("gap-of-60-s", fleet, "replay", "start", "--into", "promoted", *fleet.range, "--json")
    before = last_windows(fleet.deployment.stack.kafka_bootstrap, DEVICE_AGGREGATES)
    told = counts(fleet.deployment, DEVICE_NOTIFICATIONS, DEVICE_STATUS, DEVICE_COMMANDS, DEVICE_COMMAND_EVENTS)
    assert json_of(command("replay", "promote", "promoted", "--dry-run", "--json"))["devices"] == {fleet.serials[0]: 3}
    worker = fleet.deployment.worker().wait_until_ready()
    assert json_of(command("replay", "promote", "promoted", "--accept-truncated", "--json"))["windows"] == 3
    eventually(lambda: command("replay", "diff", "promoted", "--json", check=False).returncode == 0, 40, "live equals the shadow")
    assert json_of(command("replay", "promote", "promoted", "--accept-truncated", "--json"))["windows"] == 0
    assert worker.terminate() == 0
    after = last_windows(fleet.deployment.stack.kafka_bootstrap, DEVICE_AGGREGATES)
    changed = {key for key in after if after[key] != before.get(key)}
    assert {(key[0], key[1]) for key in changed} == {(fleet.serials[0], window) for window in ("1m", "15m", "1h")}
    assert {after[key]["revision"] - before[key]["revision"] for key in changed} == {1}
    assert counts(fleet.deployment, *told) == told


def test_a_file_is_backfilled_once_and_through_a_replay_into_windows_that_live_does_not_have(fleet: Fleet, tmp_path: Path) -> None:
    command, serial = fleet.deployment.command, f"{fleet.deployment.application_id}-new"
    moments = [BEGIN + timedelta(minutes=10, seconds=20 * number) for number in range(200)]
    rows = [f"{serial},{format_time(moment)},9,{number / 8}" for number, moment in enumerate(moments)]
    file = tmp_path / "history.csv"
    file.write_text("\n".join(["serialNumber,timestamp,siteId,powerKw", *rows[:100], f"{serial},soon,9,1", *rows[100:]]) + "\n")
    telemetry = counts(fleet.deployment, DEVICE_TELEMETRY)
    checked = command("backfill", str(file), "--into", "filled", "--dry-run", "--json", check=False)
    assert checked.returncode == 1
    assert [(each["line"], "timestamp='soon'" in each["reason"]) for each in json_of(checked)["bad"]] == [(102, True)]
    sent = [json_of(command("backfill", str(file), "--into", "filled", "--json", check=False))["sent"] for _ in range(2)]
    assert sent == [200, 0]
    # What was bad is mended in the file's surroundings, or in a file of its own; the same file sends nothing twice.
    command("replay", "delete", "filled")
    assert json_of(command("backfill", str(file), "--into", "filled", "--json", check=False))["sent"] == 200, "its topic is a new one"
    assert counts(fleet.deployment, DEVICE_TELEMETRY) == telemetry
    command("replay", "start", "--into", "filled", *fleet.range, "--devices", serial, "--json")
    refused = command("backfill", str(file), "--into", "filled", check=False)
    assert (refused.returncode, "before it is started" in refused.stderr) == (2, True)
    found = json_of(command("replay", "diff", "filled", "--json", check=False))["findings"]
    assert {each["verdict"] for each in found} == {"missing in live"}
    worker = fleet.deployment.worker().wait_until_ready()
    assert json_of(command("replay", "promote", "filled", "--accept-truncated", "--json"))["windows"] == len(found) > 67
    eventually(lambda: command("replay", "diff", "filled", "--json", check=False).returncode == 0, 40, "live has them")
    assert worker.terminate() == 0
    hours = {
        key: window for key, window in last_windows(fleet.deployment.stack.kafka_bootstrap, DEVICE_AGGREGATES).items() if key[0] == serial
    }
    assert sum(window["eventCount"] for key, window in hours.items() if key[1] == "1h") == 200
    assert {window["siteId"] for window in hours.values()} == {9}


def test_rows_of_a_device_that_is_registered_later_are_sent_by_the_next_run_and_no_other_row_twice(fleet: Fleet, tmp_path: Path) -> None:
    command, serial = fleet.deployment.command, f"{fleet.deployment.application_id}-later"
    rows = [
        f"{serial},{format_time(BEGIN)},,1",
        *(f"{serial}-known,{format_time(BEGIN + timedelta(minutes=each))},9,2" for each in range(3)),
    ]
    file = tmp_path / "later.csv"
    file.write_text("\n".join(["serialNumber,timestamp,siteId,powerKw", *rows]) + "\n")
    first = json_of(command("backfill", str(file), "--into", "later", "--json", check=False))
    assert ([each["line"] for each in first["bad"]], first["sent"]) == ([2], 3)
    devices = tmp_path / "devices.csv"
    devices.write_text(f"serialNumber,siteId\n{serial},9\n")
    command("devices", "import", str(devices))
    again = json_of(command("backfill", str(file), "--into", "later", "--json"))
    assert (again["bad"], again["good"], again["sent"]) == ([], 4, 1)
    command("replay", "delete", "later")

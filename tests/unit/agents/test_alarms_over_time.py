"""The agent `alarms` on one partition over time: data that are missed, durations, recoveries, and what is forgotten."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ems_streams.domain import alarm_index
from ems_streams.kafka.catalogue import ALARM_EVENTS
from tables.alarms import index_of
from tests.unit.agents.alarm_worker import BEAT_S, MEAN, MISSING, PLAIN, UP, Worker


def test_missing_data_that_a_changed_rule_finds_again_is_another_alarm_too(worker: Worker) -> None:
    worker.rule(0, MISSING)
    worker.telemetry(1, temperature=90)
    worker.listen(2, 50)
    worker.rule(51, MISSING | {"forS": 20.0})
    worker.listen(52, 60)
    events = worker.commit()
    assert [each["eventType"] for each in events] == ["ALARM_RAISED", "ALARM_CLEARED", "ALARM_RAISED"]
    assert events[0]["evidence"] == events[2]["evidence"]
    assert len({each["alarmId"] for each in events}) == 2


def test_data_are_missed_only_while_ingress_listened_and_all_is_folded(worker: Worker) -> None:
    worker.rule(0, MISSING)
    worker.listen(0, 3)
    worker.telemetry(4, temperature=20)
    # Ingress is away for three timeouts: nobody listened.
    worker.listen(100, 127)
    assert worker.commit() == []
    # A heartbeat that is ahead of this partition proves nothing until that is folded.
    worker.heartbeat(130, end=2)
    assert worker.commit() == []
    worker.telemetry(129, temperature=20)
    worker.listen(133, 157)
    assert worker.commit() == []
    worker.listen(160, 160)
    assert worker.steps() == [("ALARM_RAISED", "r", 159)]
    worker.listen(163, 300)
    assert worker.steps() == []
    worker.telemetry(301, temperature=20)
    assert worker.steps() == [("ALARM_CLEARED", "r", 301)]


def test_data_are_missed_after_a_recovery_too(worker: Worker) -> None:
    worker.rule(0, MISSING)
    worker.listen(0, 3)
    worker.telemetry(4, temperature=20)
    worker.listen(6, 12)
    worker.commit()
    worker.open()
    worker.listen(15, 36)
    assert worker.steps() == [("ALARM_RAISED", "r", 34)]


@pytest.mark.parametrize(
    ("move", "raised_s"),
    [(lambda worker: worker.telemetry(61, temperature=20, site=8), 91), (lambda worker: worker.registry(61, 8), 34)],
)
def test_data_are_missed_at_the_place_that_a_device_has_moved_to(worker: Worker, move: Callable[[Worker], None], raised_s: float) -> None:
    worker.rule(0, PLAIN)
    worker.rule(0, MISSING, "missing", scope={"siteIds": [8]})
    worker.listen(0, 3)
    worker.telemetry(4, temperature=20)
    worker.listen(6, 60)
    move(worker)
    worker.listen(63, 120)
    assert worker.steps() == [("ALARM_RAISED", "missing", raised_s)]


def test_a_device_that_was_known_by_its_windows_first_is_missed_from_its_first_message_on(worker: Worker) -> None:
    worker.rule(0, MEAN)
    worker.rule(0, MISSING, "missing")
    worker.listen(0, 3)
    worker.window(4, 20)
    worker.listen(6, 120)
    worker.commit()
    worker.open()
    worker.listen(123, 180)
    assert worker.steps() == []
    worker.telemetry(181, temperature=20)
    worker.listen(183, 240)
    assert worker.steps() == [("ALARM_RAISED", "missing", 211)]


@pytest.mark.parametrize("switch_off", [{"condition": None}, {"condition": MISSING, "enabled": False}])
def test_what_came_while_there_were_no_rules_is_not_missing(worker: Worker, switch_off: dict[str, Any]) -> None:
    worker.rule(0, MISSING)
    worker.listen(0, 3)
    worker.telemetry(4, "A", temperature=20)
    worker.commit()
    worker.telemetry(4, "B", temperature=20)
    worker.rule(5, **switch_off)
    for second in range(6, 80):
        worker.telemetry(second, "AB"[second % 2], temperature=20)
        if second % BEAT_S == 0:
            worker.heartbeat(second)
    worker.rule(80, MISSING)
    worker.listen(81, 84)
    assert worker.steps() == []
    worker.telemetry(85, "A", temperature=20)
    worker.listen(87, 120)
    assert worker.steps() == [("ALARM_RAISED", "r", 115)]


def test_a_duration_does_not_go_on_while_there_are_no_rules(worker: Worker) -> None:
    worker.rule(0, PLAIN | {"forS": 20.0})
    worker.telemetry(4, temperature=90)
    worker.rule(5, None)
    worker.telemetry(6, temperature=20)
    worker.rule(30, PLAIN | {"forS": 20.0})
    worker.telemetry(31, temperature=90)
    assert worker.steps() == []
    worker.telemetry(51, temperature=90)
    assert worker.steps() == [("ALARM_RAISED", "r", 51)]


def shaken(worker: Worker, seed: int, *, shakes: bool) -> list[dict[str, Any]]:
    """Five minutes of two devices under four rules, of which one breaks off; commits, and crashes that lose what came since, where chance wants them."""
    noise, chance = random.Random(seed), random.Random(seed + 1)
    worker.rule(0, PLAIN | {"clearAt": 60.0, "forS": 6.0})
    worker.rule(0, {"kind": "rateOfChange", "metric": "temperature", "abovePerS": 4.0, "overS": 10.0}, "rate")
    worker.rule(0, MISSING, "missing")
    worker.rule(0, PLAIN, "up", escalate=UP | {"afterS": 3.0})
    worker.listen(0, 3)
    for second in range(4, 300):
        if noise.random() < 0.6 and not 100 < second < 150:
            worker.telemetry(second, noise.choice("AB"), temperature=noise.uniform(50, 110), own_s=second - noise.choice((0, 0, 0, 5)))
        if second % 3 == 0:
            worker.heartbeat(second)
        if shakes and chance.random() < 0.2:
            worker.commit()
        if shakes and chance.random() < 0.1:
            worker.open()
            worker.fold_all()
    worker.commit()
    asyncio.run(worker.table.store.stop())
    return [orjson.loads(value or b"") for topic, _, value in worker.writer.outputs if topic == ALARM_EVENTS]


@pytest.mark.parametrize("seed", range(5))
def test_recoveries_anywhere_change_nothing(tmp_path: Path, seed: int) -> None:
    """The same values give the same events, once each, whenever commits were and whatever was folded twice.

    What rests on time that went on may be found later after a crash, or not at all if it was over by then, but never twice or in a wrong order.
    """
    steady = shaken(Worker(tmp_path / "steady"), seed, shakes=False)
    anyhow = shaken(Worker(tmp_path / "shaken"), seed, shakes=True)
    for rule_id in ("r", "rate"):
        for serial in "AB":
            of_rule = [
                [each for each in events if (each["ruleId"], each["serialNumber"]) == (rule_id, serial)] for events in (steady, anyhow)
            ]
            assert of_rule[0] == of_rule[1]
    for events in (steady, anyhow):
        assert {each["eventType"] for each in events} == {"ALARM_RAISED", "ALARM_CLEARED", "ALARM_ESCALATED"}
        assert {each["ruleId"] for each in events} == {"r", "rate", "missing", "up"}
        assert len({each["eventId"] for each in events}) == len(events)
        lives: dict[str, list[str]] = {}
        for each in events:
            lives.setdefault(each["alarmId"], []).append(each["eventType"].removeprefix("ALARM_"))
        whole = (["RAISED", "ESCALATED", "CLEARED"], ["RAISED", "CLEARED"], ["RAISED", "ESCALATED"], ["RAISED"])
        assert [life for life in lives.values() if life not in whole] == []


def test_alarms_that_are_over_for_long_or_too_many_are_forgotten(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_index, "CLEARED_MAX", 3)
    worker.rule(0, PLAIN)
    for number in range(5):
        worker.telemetry(10 + 2 * number, temperature=90)
        worker.telemetry(11 + 2 * number, temperature=20)
    worker.telemetry(30, "B", temperature=90)
    worker.commit()
    worker.open()
    assert len(index_of(worker.partition)) == 6
    worker.heartbeat(100)
    assert [entry.cleared_ms is None for entry in index_of(worker.partition).values()].count(False) == 3
    worker.heartbeat(86_500)
    worker.commit()
    assert [alarm.serial_number for alarm in worker.alarms()] == ["B"]
    assert len(index_of(worker.partition)) == 1


def test_ids_of_alarms_that_rest_on_the_same_record_are_never_used_again(worker: Worker) -> None:
    worker.rule(0, MISSING)
    worker.listen(0, 3)
    worker.telemetry(4, temperature=20)
    worker.listen(6, 40)
    worker.rule(41, MISSING | {"forS": 20.0})
    worker.listen(42, 60)
    # More than a day later the first of the two alarms is over for long.
    worker.listen(87_000, 87_040)
    worker.commit()
    worker.open()
    worker.rule(87_041, MISSING)
    worker.listen(87_042, 87_100)
    worker.commit()
    events = [orjson.loads(value or b"") for topic, _, value in worker.writer.outputs if topic == ALARM_EVENTS]
    assert [each["eventType"] for each in events] == [*["ALARM_RAISED", "ALARM_CLEARED"] * 2, "ALARM_RAISED"]
    assert len({each["eventId"] for each in events}) == 5
    # Once the device is heard of, nothing rests on that record any more.
    worker.telemetry(87_101, temperature=20)
    worker.heartbeat(87_200)
    worker.heartbeat(174_000)
    assert [alarm.active for alarm in worker.alarms()] == []

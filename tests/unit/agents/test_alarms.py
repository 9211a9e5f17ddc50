"""The agent `alarms` on one partition: the life of alarms by rules, acknowledgements, time, changed rules and devices that move, over recoveries."""

import asyncio
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ems_streams.domain import alarm_index
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import decode_alarm_event
from ems_streams.domain.events import Severity
from ems_streams.domain.promotions import PROMOTED_HEADER
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_EVENTS,
    ALARM_RULES,
    DEVICE_AGGREGATES,
    DEVICE_REGISTRY,
    DEVICE_TELEMETRY,
    INGRESS_HEARTBEATS,
    dlt_of,
)
from ems_streams.metrics import alarms as metrics
from ems_streams.web.live_alarms import LiveAlarms
from tables.alarms import Removed, index_of
from tests.unit.agents.alarm_worker import BEAT_S, Worker
from tests.unit.domain.builders import NOON_MS

PLAIN: dict[str, Any] = {"kind": "threshold", "metric": "temperature", "above": 80.0}
MISSING: dict[str, Any] = {"kind": "missingData", "forS": 30.0}
MEAN: dict[str, Any] = {"kind": "windowStatistic", "window": "1m", "statistic": "mean", "metric": "temperature", "above": 80.0}
UP = {"afterS": 60.0, "severity": "CRITICAL"}


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def test_an_alarm_from_its_begin_to_its_end(worker: Worker) -> None:
    worker.rule(0, PLAIN | {"forS": 10.0}, message="{serialNumber} has {value} > {limit}")
    worker.telemetry(1, temperature=90)
    worker.telemetry(11, temperature=95.5)
    [raised] = worker.commit()
    assert (raised["eventType"], raised["state"], raised["severity"], raised["siteId"]) == ("ALARM_RAISED", "RAISED", "WARNING", 7)
    assert (raised["beganAt"], raised["raisedAt"], raised["value"]) == ("2025-10-04T12:00:01Z", "2025-10-04T12:00:11Z", 95.5)
    assert raised["evidence"] == {"topic": DEVICE_TELEMETRY, "partition": 0, "offset": 0}
    assert raised["message"] == "A has 95.5 > 80"
    worker.acknowledge(20, raised["alarmId"])
    worker.acknowledge(21, raised["alarmId"], by="Bob")
    [noted] = worker.commit()
    assert (noted["eventType"], noted["acknowledgedBy"], noted["acknowledgedAt"]) == ("ALARM_ACKNOWLEDGED", "Ann", "2025-10-04T12:00:20Z")
    worker.telemetry(30, temperature=20)
    worker.acknowledge(31, raised["alarmId"])
    [over] = worker.commit()
    assert (over["eventType"], over["clearCause"], over["clearedBecause"]) == ("ALARM_CLEARED", "CONDITION_OVER", "temperature is 20")
    assert {each["alarmId"] for each in (raised, noted, over)} == {raised["alarmId"]}
    assert [alarm.state for alarm in worker.alarms()] == ["CLEARED"]
    assert decode_alarm_event(orjson.dumps(over)).acknowledged_by == "Ann"


def test_alarms_are_counted_by_step_and_those_that_are_not_over_by_state(worker: Worker) -> None:
    def steps() -> dict[tuple[str, str], float]:
        samples = [sample for family in metrics.EVENTS.collect() for sample in family.samples if sample.name.endswith("_total")]
        return {(each.labels["event"], each.labels["severity"]): each.value for each in samples if each.labels["kind"] == "threshold"}

    before, live = steps(), LiveAlarms(worker.table)
    worker.rule(0, PLAIN, escalate=UP)
    worker.listen(0, 3)
    for serial in ("A", "B", "C"):
        worker.telemetry(4, serial, temperature=90)
    alarm_of = {each["serialNumber"]: each["alarmId"] for each in worker.commit()}
    worker.acknowledge(5, alarm_of["A"])
    worker.telemetry(6, "C", temperature=20)
    worker.listen(9, 66)
    worker.table.partitions[0] = worker.partition
    assert live.active_counts() == {(AlarmState.ACKNOWLEDGED, Severity.WARNING): 1, (AlarmState.RAISED, Severity.CRITICAL): 1}
    assert {key: value - before[key] for key, value in steps().items() if value != before[key]} == {
        ("raised", "WARNING"): 3,
        ("acknowledged", "WARNING"): 1,
        ("cleared", "WARNING"): 1,
        ("escalated", "CRITICAL"): 1,
    }


def test_acknowledgements_of_nothing_and_of_another_device_change_nothing(worker: Worker) -> None:
    worker.rule(0, PLAIN)
    worker.telemetry(1, temperature=90)
    [raised] = worker.commit()
    worker.acknowledge(2, "f" * 32)
    worker.acknowledge(2, raised["alarmId"], serial="B")
    worker.append(ALARM_ACKNOWLEDGEMENTS, 3, b"A", b"{}")
    worker.fold_all()
    assert worker.commit() == []
    assert worker.writer.outputs[-1] == (dlt_of(ALARM_ACKNOWLEDGEMENTS), b"A", b"{}")


def test_severity_goes_up_once_unless_somebody_takes_note(worker: Worker) -> None:
    worker.rule(0, PLAIN, escalate=UP)
    worker.listen(0, 3)
    worker.telemetry(4, "A", temperature=90)
    worker.telemetry(4, "B", temperature=90)
    first, _ = worker.commit()
    worker.acknowledge(30, first["alarmId"])
    worker.commit()
    worker.listen(6, 63)
    assert worker.commit() == []
    worker.open()
    worker.listen(66, 90)
    [up] = worker.commit()
    assert (up["eventType"], up["serialNumber"], up["severity"], up["escalatedAt"]) == (
        "ALARM_ESCALATED", "B", "CRITICAL", "2025-10-04T12:01:04Z",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda worker: worker.rule(10, None), "RULE_REMOVED"),
        (lambda worker: worker.rule(10, PLAIN | {"above": 85.0}), "RULE_CHANGED"),
        (lambda worker: worker.rule(10, PLAIN, severity="CRITICAL"), "RULE_CHANGED"),
        (lambda worker: worker.rule(10, PLAIN, scope={"siteIds": [8]}), "RULE_CHANGED"),
        (lambda worker: worker.rule(10, PLAIN, enabled=False), "RULE_DISABLED"),
        (lambda worker: worker.registry(10, None), "DEVICE_REMOVED"),
        (lambda worker: worker.registry(10, 8), "DEVICE_MOVED"),
        (lambda worker: worker.telemetry(10, temperature=20, site=8), "DEVICE_MOVED"),
        (lambda worker: worker.rule(10, PLAIN), None),
        (lambda worker: worker.rule(10, PLAIN, title="Other words", description="And more"), None),
        (lambda worker: worker.rule(10, MISSING, "other"), None),
        (lambda worker: worker.registry(0, None), None),
        (lambda worker: worker.registry(10, 7), None),
        (lambda worker: worker.telemetry(10, temperature=90, own_s=0, site=8), None),
    ],
)
def test_what_clears_an_alarm_whose_condition_lasts(worker: Worker, change: Callable[[Worker], None], cause: str | None) -> None:
    worker.rule(0, PLAIN)
    worker.telemetry(1, temperature=90)
    worker.telemetry(1, "B", temperature=20)
    worker.commit()
    worker.open()
    change(worker)
    assert [(each["eventType"], each["clearCause"], each["clearedAt"]) for each in worker.commit()] == (
        [] if cause is None else [("ALARM_CLEARED", cause, "2025-10-04T12:00:10Z")]
    )


@pytest.mark.parametrize("known", [True, False])
def test_what_a_removed_device_had_sent_before_raises_nothing_when_it_is_folded_afterwards(worker: Worker, known: bool) -> None:
    worker.rule(0, PLAIN)
    worker.rule(0, MISSING, "missing")
    worker.rule(0, MEAN, "mean")
    worker.listen(0, 3)
    if known:
        worker.telemetry(1, temperature=90)
        worker.commit()
    worker.telemetry(4, folded=False, temperature=90)
    worker.append(DEVICE_REGISTRY, 10, b"A", None)
    worker.fold(DEVICE_REGISTRY)
    assert [each["clearCause"] for each in worker.commit()] == (["DEVICE_REMOVED"] if known else [])
    worker.open()
    # What waited is folded now, time goes on for long, and the window closes that it was in.
    worker.fold_all()
    worker.listen(12, 300)
    worker.window(60, mean=90)
    assert worker.commit() == []
    # Back again: provisioned anew by a message of its own.
    worker.telemetry(301, temperature=90)
    assert [each["eventType"] for each in worker.commit()] == ["ALARM_RAISED"]


def test_that_a_device_was_removed_is_remembered_for_two_days_and_until_all_that_it_had_sent_is_folded(worker: Worker) -> None:
    later_s = 10 + 2 * 86_400
    worker.rule(0, PLAIN)
    worker.telemetry(4, folded=False, temperature=90)
    worker.append(DEVICE_REGISTRY, 10, b"A", None)
    worker.fold(DEVICE_REGISTRY)
    # Ahead of what is folded, so no time has gone on yet.
    for at_s in range(later_s, later_s + 60, BEAT_S):
        worker.heartbeat(at_s, folded=False)
    worker.fold(INGRESS_HEARTBEATS)
    worker.commit()
    worker.open()
    assert worker.partition.get(b"A") == Removed(NOON_MS + 10_000)
    worker.fold_all()
    worker.heartbeat(later_s + 60)
    assert worker.commit() == []
    assert worker.partition.get(b"A") is None, "remembered for ever that it was removed"


def test_a_window_that_begins_after_its_device_was_removed_is_of_one_that_is_back(worker: Worker) -> None:
    worker.rule(0, MEAN)
    worker.registry(10, None)
    worker.window(70, mean=90)
    assert worker.commit() == []
    worker.window(71, mean=90)
    assert [each["eventType"] for each in worker.commit()] == ["ALARM_RAISED"]


def test_after_a_change_of_its_rule_a_condition_that_lasts_is_another_alarm(worker: Worker) -> None:
    worker.rule(0, PLAIN)
    worker.telemetry(1, temperature=90)
    worker.rule(2, PLAIN | {"above": 85.0})
    worker.telemetry(3, temperature=90)
    events = worker.commit()
    assert [each["eventType"] for each in events] == ["ALARM_RAISED", "ALARM_CLEARED", "ALARM_RAISED"]
    assert len({each["alarmId"] for each in events}) == 2
    worker.telemetry(4, temperature=86)
    assert worker.commit() == []


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


def test_windows_raise_and_those_that_a_replay_has_promoted_do_not(worker: Worker) -> None:
    worker.rule(0, MEAN)
    worker.window(60, 90, [(PROMOTED_HEADER, b"again")])
    assert worker.commit() == []
    worker.window(120, 90)
    worker.window(180, 20)
    events = worker.commit()
    assert [(each["eventType"], each["evidence"]["topic"], each["evidence"]["offset"]) for each in events] == [
        ("ALARM_RAISED", DEVICE_AGGREGATES, 1), ("ALARM_CLEARED", DEVICE_AGGREGATES, 1),
    ]  # fmt: skip


def test_a_record_that_is_no_rule_goes_to_the_dead_letters_and_the_others_count(worker: Worker) -> None:
    worker.append(ALARM_RULES, 0, b"r", b"{}")
    worker.rule(0, PLAIN, "good")
    worker.telemetry(1, temperature=90)
    assert worker.steps() == [("ALARM_RAISED", "good", 1)]
    assert worker.writer.outputs[0] == (dlt_of(ALARM_RULES), b"r", b"{}")


def test_devices_that_no_rule_concerns_leave_nothing_behind(worker: Worker) -> None:
    worker.telemetry(0, temperature=90)
    worker.rule(1, PLAIN, scope={"siteIds": [8]})
    worker.telemetry(2, temperature=90)
    worker.commit()
    assert [key for key, _ in worker.partition.items()] == [b"\x01rules"]


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

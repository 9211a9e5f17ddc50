"""The agent `alarms` on one partition: the life of alarms by rules, acknowledgements, windows, changed rules and devices that move."""

from collections.abc import Callable

import orjson
import pytest

from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import decode_alarm_event
from ems_streams.domain.events import Severity
from ems_streams.domain.promotions import PROMOTED_HEADER
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_RULES,
    DEVICE_AGGREGATES,
    DEVICE_REGISTRY,
    DEVICE_TELEMETRY,
    INGRESS_HEARTBEATS,
    dlt_of,
)
from ems_streams.metrics import alarms as metrics
from ems_streams.web.live_alarms import LiveAlarms
from tables.alarms import Removed
from tests.unit.agents.alarm_worker import BEAT_S, MEAN, MISSING, PLAIN, UP, Worker
from tests.unit.domain.builders import NOON_MS


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

"""Silence on one partition with a real store: who becomes offline by heartbeats, and who does not, whatever was behind or away."""

import asyncio
import random
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.silent_devices import silent_devices_of
from agents.status import silence_policy
from ems_streams.domain.silence import SilencePolicy, due_ms
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.kafka import due_keys, partition_state
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, INGRESS_HEARTBEATS, dlt_of
from ems_streams.settings import Settings
from tests.unit.agents.status_worker import BEAT_MS, POLICY, TIMEOUT_MS, Worker
from tests.unit.domain.builders import NOON_MS


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def test_who_is_silent_while_somebody_listens_is_offline_once(worker: Worker) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000)
    worker.telemetry("B", NOON_MS + 1000)
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 60_000)
    worker.telemetry("B", NOON_MS + 60_500)
    assert worker.offline() == []
    worker.listen(NOON_MS + 63_000, NOON_MS + 90_000)
    [event] = worker.commit()
    assert (event["serialNumber"], event["previousStatus"], event["newStatus"], event["sequence"]) == ("A", "ONLINE", "OFFLINE", 2)
    assert (event["timestamp"], event["cause"]) == ("2025-10-04T12:01:01Z", "SILENCE")
    assert event["evidence"] == {"topic": "device-telemetry", "partition": 0, "offset": 0, "lastSeen": "2025-10-04T12:00:01Z"}
    worker.listen(NOON_MS + 93_000, NOON_MS + 110_000)
    assert worker.offline() == []
    worker.telemetry("A", NOON_MS + 111_000)
    worker.fold_all()
    assert [(each["serialNumber"], each["newStatus"], each["sequence"]) for each in worker.commit()] == [("A", "ONLINE", 3)]
    # And silent again: it is waited for anew.
    worker.listen(NOON_MS + 112_000, NOON_MS + 175_000)
    assert ("A", "2025-10-04T12:02:51Z") in worker.offline()


def test_reports_are_signs_of_life_as_well(worker: Worker) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000)
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 30_000)
    worker.report("A", NOON_MS + 31_000, "ONLINE")
    worker.listen(NOON_MS + 33_000, NOON_MS + 90_000)
    assert worker.offline() == []


@pytest.mark.parametrize("ahead_ms", [-7_200_000, 0, 7_200_000])
def test_the_clock_of_a_device_does_not_matter(worker: Worker, ahead_ms: int) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000, own_ms=NOON_MS + 1000 + ahead_ms)
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 60_000)
    assert worker.offline() == []
    worker.listen(NOON_MS + 63_000, NOON_MS + 63_000)
    assert worker.offline() == [("A", "2025-10-04T12:01:01Z")]


def test_an_ingress_whose_clock_is_ahead_makes_nobody_silent(worker: Worker) -> None:
    worker.telemetry("A", NOON_MS + 1000)
    for at_ms in range(NOON_MS - 30_000, NOON_MS + 60_001, BEAT_MS):
        worker.heartbeat(at_ms, own_ms=at_ms + TIMEOUT_MS)
        worker.fold_all()
    assert worker.offline() == []
    worker.heartbeat(NOON_MS + 63_000, own_ms=NOON_MS + 63_000 + TIMEOUT_MS)
    worker.fold_all()
    assert worker.offline() == [("A", "2025-10-04T12:01:01Z")]


@pytest.mark.parametrize("topic", [DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS])
def test_before_the_partition_has_caught_up_with_both_topics_nobody_is_silent(worker: Worker, topic: str) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000)
    worker.fold_all()
    # It has said something, which is in Kafka and not folded yet.
    if topic == DEVICE_TELEMETRY:
        worker.telemetry("A", NOON_MS + 50_000)
    else:
        worker.report("A", NOON_MS + 50_000, "ONLINE")
    for at_ms in range(NOON_MS + BEAT_MS, NOON_MS + 100_000, BEAT_MS):
        worker.heartbeat(at_ms)
        worker.fold(INGRESS_HEARTBEATS)
    assert worker.offline() == []
    worker.fold(topic)
    assert worker.offline() == []
    worker.listen(NOON_MS + 102_000, NOON_MS + 111_000)
    assert worker.offline() == [("A", "2025-10-04T12:01:50Z")]


def test_an_ingress_that_was_away_starts_the_count_anew(worker: Worker) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000)
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 54_000)
    worker.listen(NOON_MS + 3 * TIMEOUT_MS, NOON_MS + 4 * TIMEOUT_MS - BEAT_MS)
    assert worker.offline() == []
    worker.listen(NOON_MS + 4 * TIMEOUT_MS, NOON_MS + 4 * TIMEOUT_MS + BEAT_MS)
    assert worker.offline() == [("A", "2025-10-04T12:04:00Z")]


def test_a_worker_that_was_away_reads_heartbeats_first_and_makes_nobody_offline_that_sent(worker: Worker) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    for at_ms in range(NOON_MS, NOON_MS + 4 * TIMEOUT_MS, 1000):
        if at_ms % 10_000 == 0:
            worker.telemetry("A", at_ms)
        if at_ms == NOON_MS:
            worker.telemetry("B", at_ms)
        if at_ms % BEAT_MS == 0:
            worker.heartbeat(at_ms)
    worker.fold(INGRESS_HEARTBEATS, 10_000)
    while worker.partition.positions.get(DEVICE_TELEMETRY, -1) + 1 < len(worker.topics[DEVICE_TELEMETRY]):
        worker.fold(DEVICE_TELEMETRY, 3)
    worker.listen(NOON_MS + 4 * TIMEOUT_MS, NOON_MS + 4 * TIMEOUT_MS + BEAT_MS)
    assert worker.offline() == [("B", "2025-10-04T12:01:00Z")]


@pytest.mark.parametrize("crash", [True, False])
def test_a_crash_and_a_restart_go_on_where_they_were(worker: Worker, crash: bool) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS + 1000)
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 30_000)
    assert worker.offline() == []
    worker.listen(NOON_MS + 33_000, NOON_MS + 60_000)
    if not crash:
        worker.commit()
    worker.open()
    assert silent_devices_of(worker.partition) is None
    worker.fold_all()
    worker.listen(NOON_MS + 63_000, NOON_MS + 66_000)
    assert worker.offline() == [("A", "2025-10-04T12:01:01Z")], "as without a restart, to the byte"


def test_timeouts_of_types_and_of_single_devices(worker: Worker) -> None:
    def register(serial: str, timeout_s: object) -> None:
        entry = {"deviceId": 7, "serialNumber": serial, "siteId": 1, "limits": {"silenceTimeoutS": timeout_s}}
        worker.append(DEVICE_REGISTRY, NOON_MS, serial.encode(), orjson.dumps(entry))

    register("own", 30)
    register("never", 0)
    worker.listen(NOON_MS - 30_000, NOON_MS)
    for serial in ("own", "never", "late", "removed", "meter"):
        worker.telemetry(serial, NOON_MS)
    worker.telemetry("battery", NOON_MS, device_type="BATTERY")
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 36_000)
    assert worker.offline() == [("battery", "2025-10-04T12:00:20Z"), ("own", "2025-10-04T12:00:30Z")]
    # What is registered afterwards counts at once.
    register("late", 40)
    worker.append(DEVICE_REGISTRY, NOON_MS, b"removed", None)
    worker.listen(NOON_MS + 39_000, NOON_MS + 42_000)
    assert worker.offline() == [("late", "2025-10-04T12:00:40Z")]
    worker.listen(NOON_MS + 45_000, NOON_MS + 90_000)
    assert worker.offline() == [("meter", "2025-10-04T12:01:00Z")]


def test_a_device_that_reported_before_it_said_what_it_is_has_the_timeout_of_its_type(worker: Worker) -> None:
    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.report("A", NOON_MS, "ONLINE", device_type="UNKNOWN")
    worker.fold_all()
    worker.telemetry("A", NOON_MS + 1_000, device_type="BATTERY")
    worker.fold_all()
    # From when it was of no type yet, and what is older does not count.
    worker.telemetry("A", NOON_MS + 1_000, own_ms=NOON_MS - 5_000, device_type="UNKNOWN")
    worker.fold_all()
    assert [state.device_type for state in worker.states()] == ["BATTERY"]
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 36_000)
    assert worker.offline() == [("A", "2025-10-04T12:00:21Z")]


def test_a_device_that_says_nothing_any_more_is_where_the_registry_says(worker: Worker) -> None:
    def register(at_ms: int, site_id: int) -> None:
        entry = {"deviceId": 7, "serialNumber": "A", "siteId": site_id, "deviceType": "METER"}
        worker.append(DEVICE_REGISTRY, at_ms, b"A", orjson.dumps(entry))

    worker.listen(NOON_MS - 30_000, NOON_MS)
    worker.telemetry("A", NOON_MS)
    register(NOON_MS - 1, 3)  # from before its message, from which it follows
    worker.fold_all()
    assert [state.site_id for state in worker.states()] == [1]
    register(NOON_MS + 1, 2)
    worker.fold_all()
    assert [state.site_id for state in worker.states()] == [2]
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 90_000)
    assert [(each["newStatus"], each["siteId"]) for each in worker.commit()] == [("ONLINE", 1), ("OFFLINE", 2)]


def test_a_tombstone_of_no_device_is_passed_over(worker: Worker) -> None:
    for key in (b"\x00position", b"\x01", b"", None):
        worker.append(DEVICE_REGISTRY, NOON_MS, key, None)
    worker.commit()
    worker.fold_all()
    assert worker.commit() == []
    assert worker.writer.outputs == []


def test_a_registry_record_that_is_none_goes_to_the_dead_letters(worker: Worker) -> None:
    bad = [
        (b"A", b"{"),
        (b"A", b'{"deviceId":1,"serialNumber":"A","siteId":1,"limits":{"silenceTimeoutS":"soon"}}'),
        (b"B", b'{"deviceId":1,"serialNumber":"A","siteId":1}'),
    ]
    for key, value in bad:
        worker.append(DEVICE_REGISTRY, NOON_MS, key, value)
    worker.fold_all()
    worker.commit()
    assert [(topic, key, value) for topic, key, value in worker.writer.outputs] == [(dlt_of(DEVICE_REGISTRY), *each) for each in bad]


def test_a_device_is_not_waited_for_before_its_first_message(worker: Worker) -> None:
    worker.listen(NOON_MS, NOON_MS + 10 * TIMEOUT_MS)
    assert (worker.offline(), worker.states()) == ([], [])


def test_the_policy_is_that_of_the_settings() -> None:
    policy = silence_policy(Settings(silence_timeout_s=10, silence_timeouts={"A": 0}, heartbeat_interval_s=2))
    assert policy == SilencePolicy(10_000, {"A": 0}, 8000)


def disturb(worker: Worker, rnd: random.Random) -> int:
    """Now and then something breaks; gives for how many ms nobody is there."""
    step = rnd.random()
    if step < 0.03:
        return rnd.choice((TIMEOUT_MS // 2, 3 * TIMEOUT_MS))
    if step < 0.05:
        worker.open()
    elif step < 0.07:
        worker.partition.rollback()
    return 0


def check_offline(event: dict[str, Any], sent: list[int]) -> None:
    """It rests on the device's last message before it, and its timeout was over."""
    concluded_ms = to_epoch_ms(datetime.fromisoformat(event["timestamp"]))
    heard_ms = to_epoch_ms(datetime.fromisoformat(event["evidence"]["lastSeen"]))
    assert heard_ms == max(at_ms for at_ms in sent if at_ms <= concluded_ms), "it had sent something"
    assert concluded_ms >= heard_ms + TIMEOUT_MS


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_only_who_is_silent_becomes_offline_and_nobody_is_overlooked(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Messages, pauses of the ingress and of the worker, commits, states pushed out of memory, rollbacks, recoveries."""
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 1_000)
    rnd, now_ms = random.Random(seed), NOON_MS
    serials = [f"D{number}" for number in range(12)]
    sent: dict[str, list[int]] = {serial: [] for serial in serials}
    found: list[dict[str, Any]] = []
    for _ in range(400):
        now_ms += 1000
        for serial in rnd.sample(serials, 2):
            if rnd.random() < 0.6:
                worker.telemetry(serial, now_ms)
                sent[serial].append(now_ms)
        now_ms += disturb(worker, rnd)
        if now_ms % BEAT_MS == 0:
            worker.heartbeat(now_ms)
        for topic in rnd.sample(list(worker.topics), 2):
            worker.fold(topic, rnd.choice((1, 3, 1000)))
        if rnd.random() < 0.2:
            found += worker.commit()
    # Nobody sends any more.
    for at_ms in range(now_ms + BEAT_MS, now_ms + 2 * TIMEOUT_MS, BEAT_MS):
        worker.heartbeat(at_ms)
        worker.fold_all()
    found += worker.commit()
    events = {(each["serialNumber"], each["sequence"]): each for each in found}
    assert len(events) == len(found) == len({each["eventId"] for each in found})
    for (serial, _), event in events.items():
        if event["newStatus"] == "OFFLINE":
            check_offline(event, sent[serial])
    assert {state.status for state in worker.states()} == {"OFFLINE"}
    assert len(worker.states()) == len([serial for serial in serials if sent[serial]])


def test_after_a_recovery_stored_devices_are_found_bit_by_bit(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_keys, "SCANNED_AT_ONCE", 10)
    worker.heartbeat(NOON_MS)
    for number in range(35):
        worker.telemetry(f"D{number:03}", NOON_MS)
    worker.fold_all()
    worker.listen(NOON_MS + BEAT_MS, NOON_MS + 57_000)
    worker.commit()
    worker.open()
    closed = []
    for beat in range(1, 7):
        worker.heartbeat(NOON_MS + 57_000 + beat * BEAT_MS)
        worker.fold_all()
        closed.append(len(worker.offline()))
    assert closed == [10, 10, 10, 5, 0, 0]
    assert all(due_ms(state, 0, POLICY) > 10**15 for state in worker.states())

"""Windows of devices that went quiet: which devices a heartbeat closes windows of, and when it does not."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.aggregates import fold_batch, publish_windows
from agents.quiet_devices import quiet_devices_of
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.aggregates_codec import decode, encode
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.timestamps import MINUTE_MS, format_epoch_ms, from_epoch_ms
from ems_streams.domain.window_ticks import tick
from ems_streams.domain.windows import HOUR_MS, WindowPolicy
from ems_streams.kafka import due_keys, partition_state
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_TELEMETRY, INGRESS_HEARTBEATS, dlt_of
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from tables import device_aggregates
from tests.support.partition import Stored
from tests.unit.domain.builders import NOON_MS

POLICY = WindowPolicy()
QUIET_MS = POLICY.quiet_ms
PARTITION = 0


class Writer:
    """Takes what is committed; the changelog offset is the number of the commit."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, bytes | None, dict[str, Any]]] = []
        self._commits = 0

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        self._commits += 1
        for (topic, _), records in outputs.items():
            if topic in {DEVICE_AGGREGATES, dlt_of(INGRESS_HEARTBEATS)}:
                self.outputs += [(topic, key, orjson.loads(value or b"null")) for key, value, _ in records]
        return dict.fromkeys(outputs, self._commits)

    async def close(self) -> None:
        """Nothing is open."""


class Worker:
    """The agent on one partition, with a real store."""

    def __init__(self, directory: Path, policy: WindowPolicy = POLICY) -> None:
        app = WorkerApp(Settings(data_dir=directory))
        self.policy = policy
        self.table = StateTable(app, "states", Codec(device_aggregates.encode, device_aggregates.decode), 1)
        self.writer = Writer()
        self.next_offset = 0
        self.heartbeats = 0
        self.partition = self.open()

    def open(self) -> PartitionState[device_aggregates.Record]:
        """The partition as after a recovery: what was not committed is gone."""
        self.partition = PartitionState(
            PARTITION,
            epoch=0,
            changelog="changelog",
            codec=self.table.codec,
            store=self.table.store,
            writer=self.writer,  # type: ignore[arg-type]  # as much of it as is used
            complete=partial(publish_windows, policy=self.policy, partitions=1),
        )
        return self.partition

    def fold(self, topic: str, records: Sequence[Stored]) -> None:
        fold_part(partial(fold_batch, policy=self.policy), RecordBatch(topic, PARTITION, records, 0), 0, self.partition)

    def send(self, arrived_ms: int, *messages: tuple[str, int]) -> None:
        """Messages of devices with their own times, all arriving at once."""
        records = []
        for serial, time_ms in messages:
            value = {
                "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": "METER", "telemetryData": {"powerKw": 1.5},
                "timestamp": format_epoch_ms(time_ms), "eventType": "DEVICE_TELEMETRY",
            }  # fmt: skip
            records.append(Stored(self.next_offset, arrived_ms, serial.encode(), orjson.dumps(value)))
            self.next_offset += 1
        self.fold(DEVICE_TELEMETRY, records)

    def heartbeat(self, at_ms: int, end: int | None = None) -> None:
        """A heartbeat; by default telemetry ends with what was folded."""
        beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(at_ms), telemetry_end=self.next_offset if end is None else end)
        self.fold(INGRESS_HEARTBEATS, [Stored(self.heartbeats, at_ms, None, beat.encode())])
        self.heartbeats += 1

    def commit(self) -> list[dict[str, Any]]:
        """What is published by it."""
        before = len(self.writer.outputs)
        asyncio.run(self.partition.commit())
        return [value for _, _, value in self.writer.outputs[before:]]

    def states(self) -> Iterable[DeviceAggregates]:
        return [state for _, state in self.partition.items() if isinstance(state, DeviceAggregates)]

    def overlooked(self, now_ms: int) -> list[str]:
        """Devices for which a tick would do something, looked for one by one."""
        return [state.serial_number for state in self.states() if tick(decode(encode(state)), now_ms, self.policy)]


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def test_a_quiet_device_is_closed_by_ticks_alone(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS))
    worker.heartbeat(NOON_MS + QUIET_MS - 1000)
    assert worker.commit() == []
    worker.heartbeat(NOON_MS + QUIET_MS)
    assert [(each["window"], each["revision"]) for each in worker.commit()] == [("1m", 1)]
    worker.heartbeat(NOON_MS + QUIET_MS + 5000)
    assert worker.commit() == []
    worker.heartbeat(NOON_MS + 2 * HOUR_MS)
    assert [each["window"] for each in worker.commit()] == ["15m", "1h"]


def test_before_this_partition_has_caught_up_nothing_is_closed(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS))
    worker.heartbeat(NOON_MS + 10 * MINUTE_MS, end=worker.next_offset + 1)
    assert worker.commit() == []
    # What was under way is of the very device: it was not quiet.
    worker.send(NOON_MS + 10 * MINUTE_MS - 1000, ("A", NOON_MS + 20_000))
    assert worker.commit() == []
    worker.heartbeat(NOON_MS + 11 * MINUTE_MS)
    assert worker.commit() == []


def test_a_heartbeat_that_was_ahead_counts_as_soon_as_it_is_reached(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS), ("B", NOON_MS))
    worker.heartbeat(NOON_MS + 10 * MINUTE_MS, end=worker.next_offset + 1)
    worker.send(NOON_MS + 10 * MINUTE_MS - 1000, ("B", NOON_MS + 20_000))
    assert [(each["serialNumber"], each["window"]) for each in worker.commit()] == [("A", "1m")]


def test_a_device_whose_clock_lags_is_not_closed_early(worker: Worker) -> None:
    for second in range(0, 600, 50):
        worker.send(NOON_MS + second * 1000, ("A", NOON_MS - HOUR_MS + second * 1000 // 50))
        worker.heartbeat(NOON_MS + second * 1000 + 49_000)
    assert worker.commit() == []
    worker.heartbeat(NOON_MS + 550_000 + QUIET_MS)
    assert [(each["window"], each["eventCount"]) for each in worker.commit()] == [("1m", 12)]


def test_a_device_that_goes_on_is_corrected_and_never_twice(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS))
    worker.heartbeat(NOON_MS + QUIET_MS)
    closed = worker.commit()
    worker.send(NOON_MS + QUIET_MS, ("A", NOON_MS + 1000), ("A", NOON_MS + 90_000))
    worker.heartbeat(NOON_MS + QUIET_MS + 5000)
    again = worker.commit()
    worker.heartbeat(NOON_MS + 3 * QUIET_MS)
    found = [
        (each["windowStart"], each["revision"], each["eventCount"]) for each in closed + again + worker.commit() if each["window"] == "1m"
    ]
    first, second = format_epoch_ms(NOON_MS), format_epoch_ms(NOON_MS + MINUTE_MS)
    assert found == [(first, 1, 1), (first, 2, 2), (second, 1, 1)]


def test_without_heartbeats_only_event_time_closes(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS))
    worker.send(NOON_MS + 24 * HOUR_MS, ("B", NOON_MS))
    assert worker.commit() == []
    assert quiet_devices_of(worker.partition) is None
    worker.send(NOON_MS + 24 * HOUR_MS, ("A", NOON_MS + 90_000))
    assert [(each["serialNumber"], each["window"]) for each in worker.commit()] == [("A", "1m")]


@pytest.mark.parametrize("seed", range(25))
def test_no_device_is_overlooked(worker: Worker, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """After whatever happened: messages, pauses, commits, states pushed out of memory, rollbacks, recoveries."""
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 2_000)
    monkeypatch.setattr(due_keys, "SCANNED_AT_ONCE", 1000)
    rnd, now_ms = random.Random(seed), NOON_MS
    serials = [f"D{number}" for number in range(12)]
    for _ in range(120):
        step = rnd.random()
        if step < 0.5:
            now_ms += rnd.choice((0, 1000, 20_000, MINUTE_MS))
            own_ms = [now_ms - rnd.choice((0, 0, 1000, 20_000, HOUR_MS)) for _ in range(4)]
            worker.send(now_ms, *zip(rnd.choices(serials, k=4), own_ms, strict=True))
        elif step < 0.85:
            now_ms += rnd.choice((1000, 5000, MINUTE_MS, QUIET_MS, HOUR_MS, 20 * HOUR_MS)) if rnd.random() < 0.5 else 5000
            worker.heartbeat(now_ms)
            assert worker.overlooked(now_ms) == []
        elif step < 0.95:
            worker.commit()
        else:
            lost = worker.open() if rnd.random() < 0.5 else worker.partition.rollback()
            assert quiet_devices_of(worker.partition) is None, lost
            worker.next_offset = worker.partition.positions.get(DEVICE_TELEMETRY, -1) + 1
    worker.heartbeat(now_ms + 30 * HOUR_MS)
    worker.commit()
    worker.heartbeat(now_ms + 31 * HOUR_MS)
    worker.commit()
    assert all(not state.open for state in worker.states())


def test_after_a_recovery_stored_devices_are_found_bit_by_bit(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_keys, "SCANNED_AT_ONCE", 10)
    worker.send(NOON_MS, *((f"D{number:03}", NOON_MS) for number in range(95)))
    worker.commit()
    worker.open()
    closed = []
    for beat in range(12):
        worker.heartbeat(NOON_MS + QUIET_MS + beat * 1000)
        closed.append(len(worker.commit()))
    assert closed == [10] * 9 + [5, 0, 0]


def test_many_that_are_due_at_once_are_closed_a_part_at_a_time(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_keys, "DUE_AT_ONCE", 10)
    worker.heartbeat(NOON_MS)
    worker.send(NOON_MS, *((f"D{number:03}", NOON_MS) for number in range(25)))
    worker.heartbeat(NOON_MS + QUIET_MS)
    assert len(worker.commit()) == 10
    worker.send(NOON_MS + QUIET_MS, ("other", NOON_MS))
    assert len(worker.commit()) == 10, "telemetry carries on with what a heartbeat has left"
    worker.heartbeat(NOON_MS + QUIET_MS + 1000)
    assert len(worker.commit()) == 5


def test_what_is_no_heartbeat_goes_to_the_dead_letters_and_keys_of_rubbish_are_no_devices(worker: Worker) -> None:
    worker.send(NOON_MS, ("A", NOON_MS))
    worker.fold(INGRESS_HEARTBEATS, [Stored(0, NOON_MS, None, b'{"telemetryEnd":-1}')])
    rubbish = [b"\x00position", b"\x01A\x00", b"", None, b"A", b"unknown"]
    worker.fold(DEVICE_TELEMETRY, [Stored(1 + index, NOON_MS, key, b"{}") for index, key in enumerate(rubbish)])
    worker.next_offset = 7
    worker.commit()
    assert [topic for topic, _, _ in worker.writer.outputs] == [dlt_of(INGRESS_HEARTBEATS)]
    worker.heartbeat(NOON_MS + QUIET_MS)
    assert [each["serialNumber"] for each in worker.commit()] == ["A"]

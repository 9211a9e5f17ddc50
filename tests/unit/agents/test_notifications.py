"""The agent `notifications` on one partition: windows that are read, ended and malformed, and time that goes on by heartbeats."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import orjson
import pytest

from agents.notifications import fold_batch
from ems_streams.domain.events import DeviceStatus, StatusEvent
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.maintenance import window_of
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_STATUS, INGRESS_HEARTBEATS, MAINTENANCE_WINDOWS, dlt_of
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from tables import notifications
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.builders import NOON_MS


class Worker:
    def __init__(self, directory: Path) -> None:
        self.table = StateTable(WorkerApp(Settings(data_dir=directory)), "states", Codec(notifications.encode, notifications.decode), 1)
        self.writer = Writer()
        self.offsets: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        """As after a recovery."""
        self.partition = opened(self.table, self.writer)

    def fold(self, topic: str, at_s: int, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        first = self.offsets.get(topic, 0)
        self.offsets[topic] = first + len(records)
        stored = [Stored(first + number, NOON_MS + at_s * 1000, key, value) for number, (key, value) in enumerate(records)]
        fold_part(partial(fold_batch, policy=FlappingPolicy(6, 300_000)), RecordBatch(topic, 0, stored, 0), 0, self.partition)

    def change(self, status: DeviceStatus, at_s: int, sequence: int) -> None:
        event = StatusEvent(
            event_id=f"e{sequence}", sequence=sequence, device_id=1, serial_number="A", site_id=7, previous_status=DeviceStatus.UNKNOWN,
            new_status=status, timestamp=from_epoch_ms(NOON_MS + at_s * 1000), reason="why",  # type: ignore[arg-type]  # not UNKNOWN
        )  # fmt: skip
        self.fold(DEVICE_STATUS, at_s, [(b"A", event.encode())])

    def window(self, first_s: int, last_s: int, at_s: int) -> None:
        times = {"startsAt": format_epoch_ms(NOON_MS + first_s * 1000), "endsAt": format_epoch_ms(NOON_MS + last_s * 1000)}
        window = window_of({"windowId": "w", "sites": [7], "reason": "r", "createdBy": "c", **times})
        self.fold(MAINTENANCE_WINDOWS, at_s, [(b"w", window.encode())])

    def beats(self, *seconds: int) -> None:
        for at_s in seconds:
            beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(NOON_MS + at_s * 1000), telemetry_end=0)
            self.fold(INGRESS_HEARTBEATS, at_s, [(None, beat.encode())])

    def told(self) -> list[str]:
        before = len(self.writer.outputs)
        asyncio.run(self.partition.commit())
        new = self.writer.outputs[before:]
        return [orjson.loads(value or b"")["data"]["newStatus"] for topic, _, value in new if topic == DEVICE_NOTIFICATIONS]


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


@pytest.mark.parametrize("how", ["as set", "ended early", "removed", "as set, over a recovery"])
def test_after_a_window_however_it_ends_people_know(worker: Worker, how: str) -> None:
    worker.change(DeviceStatus.ONLINE, 0, 1)
    worker.window(10, 1000, 1)
    worker.change(DeviceStatus.OFFLINE, 20, 2)
    worker.beats(30, 60, 90)
    assert worker.told() == ["ONLINE"]
    if how == "ended early":
        worker.window(10, 100, 100)
        worker.beats(120, 150)
    elif how == "removed":
        worker.fold(MAINTENANCE_WINDOWS, 100, [(b"w", None)])
        worker.beats(120, 150)
    else:
        if how != "as set":
            worker.open()
        worker.beats(950, 999, 1014)
        assert worker.told() == []
        worker.beats(1015, 1030, 1045)
    assert worker.told() == ["OFFLINE"]
    worker.beats(2000, 2030)
    assert worker.told() == []


def test_a_window_that_is_none_goes_to_the_dead_letters(worker: Worker) -> None:
    bad = [(b"w", b"{"), (b"other", window_bytes()), (b"w", b'{"windowId":"w"}')]
    worker.fold(MAINTENANCE_WINDOWS, 0, bad)
    worker.told()
    assert worker.writer.outputs == [(dlt_of(MAINTENANCE_WINDOWS), *each) for each in bad]


def window_bytes() -> bytes:
    times = {"startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-02T00:00:00Z"}
    return window_of({"windowId": "w", "sites": [7], "reason": "r", "createdBy": "c", **times}).encode()

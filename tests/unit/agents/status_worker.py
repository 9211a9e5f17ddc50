"""The agent `status` on one partition with a real store, and what its topics hold, for tests of silence."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from agents.status import fold_batch
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.silence import SilencePolicy
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_STATUS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, INGRESS_HEARTBEATS
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from tables import device_status
from tests.support.partition import Stored, Writer, opened

TIMEOUT_MS = 60_000
POLICY = SilencePolicy(TIMEOUT_MS, {"BATTERY": 20_000}, 12_000)
BEAT_MS = 3000


class Worker:
    """The agent on one partition, with what its topics hold, of which it may have folded a part."""

    def __init__(self, directory: Path, policy: SilencePolicy = POLICY) -> None:
        app = WorkerApp(Settings(data_dir=directory))
        self.policy = policy
        self.table = StateTable(app, "states", Codec(device_status.encode, device_status.decode), 1)
        self.writer = Writer()
        self.topics: dict[str, list[Stored]] = {
            topic: [] for topic in (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, INGRESS_HEARTBEATS, DEVICE_REGISTRY)
        }
        self.partition = self.open()

    def open(self) -> PartitionState[device_status.Record]:
        """The partition as after a recovery: what was not committed is gone, and its topics are read on from there."""
        self.partition = opened(self.table, self.writer)
        return self.partition

    # What comes into Kafka.

    def append(self, topic: str, at_ms: int, key: bytes | None, value: bytes | None) -> None:
        self.topics[topic].append(Stored(len(self.topics[topic]), at_ms, key, value))

    def telemetry(self, serial: str, at_ms: int, own_ms: int | None = None, device_type: str = "METER") -> None:
        value = {
            "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": device_type, "telemetryData": {"powerKw": 1.5},
            "timestamp": format_epoch_ms(at_ms if own_ms is None else own_ms), "eventType": "DEVICE_TELEMETRY",
        }  # fmt: skip
        self.append(DEVICE_TELEMETRY, at_ms, serial.encode(), orjson.dumps(value))

    def report(self, serial: str, at_ms: int, status: str, device_type: str = "METER") -> None:
        value = {
            "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": device_type, "status": status,
            "timestamp": format_epoch_ms(at_ms), "eventType": "DEVICE_STATUS_REPORT",
        }  # fmt: skip
        self.append(DEVICE_STATUS_REPORTS, at_ms, serial.encode(), orjson.dumps(value))

    def heartbeat(self, at_ms: int, own_ms: int | None = None) -> None:
        ends = len(self.topics[DEVICE_TELEMETRY]), len(self.topics[DEVICE_STATUS_REPORTS])
        timestamp = from_epoch_ms(at_ms if own_ms is None else own_ms)
        beat = Heartbeat(ingress_id="i", timestamp=timestamp, telemetry_end=ends[0], reports_end=ends[1])
        self.append(INGRESS_HEARTBEATS, at_ms, None, beat.encode())

    def listen(self, from_ms: int, to_ms: int) -> None:
        """Heartbeats without a gap, which are folded as they come."""
        for at_ms in range(from_ms, to_ms + 1, BEAT_MS):
            self.heartbeat(at_ms)
            self.fold_all()

    # What the worker does with it.

    def fold(self, topic: str, limit: int = 1000) -> None:
        """The next records of a topic."""
        start = self.partition.positions.get(topic, -1) + 1
        if records := self.topics[topic][start : start + limit]:
            fold_part(partial(fold_batch, policy=self.policy), RecordBatch(topic, 0, records, 0), 0, self.partition)

    def fold_all(self) -> None:
        for topic in self.topics:
            self.fold(topic)

    def commit(self) -> list[dict[str, Any]]:
        """The transitions that are published by it."""
        before = len(self.writer.outputs)
        asyncio.run(self.partition.commit())
        return [orjson.loads(value or b"null") for topic, _, value in self.writer.outputs[before:] if topic == DEVICE_STATUS]

    def offline(self) -> list[tuple[str, str]]:
        """Who became offline with the commit, and when."""
        return [(each["serialNumber"], each["timestamp"]) for each in self.commit() if each["newStatus"] == "OFFLINE"]

    def states(self) -> list[DeviceStatusState]:
        return [state for _, state in self.partition.items() if isinstance(state, DeviceStatusState)]

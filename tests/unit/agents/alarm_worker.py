"""The agent `alarms` on one partition with a real store, and what its topics hold; times are seconds from noon."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from agents.alarms import fold_batch
from ems_streams.domain.alarms import Acknowledgement, Alarm
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.timestamps import format_epoch_ms, from_epoch_ms
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_EVENTS,
    ALARM_RULES,
    DEVICE_AGGREGATES,
    DEVICE_REGISTRY,
    DEVICE_TELEMETRY,
    INGRESS_HEARTBEATS,
)
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from tables import alarms
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.alarm_cases import rule
from tests.unit.domain.builders import NOON_MS

GAP_MS = 12_000
BEAT_S = 3
PLAIN: dict[str, Any] = {"kind": "threshold", "metric": "temperature", "above": 80.0}
MISSING: dict[str, Any] = {"kind": "missingData", "forS": 30.0}
MEAN: dict[str, Any] = {"kind": "windowStatistic", "window": "1m", "statistic": "mean", "metric": "temperature", "above": 80.0}
UP = {"afterS": 60.0, "severity": "CRITICAL"}


class Worker:
    """The agent on one partition, with what its topics hold, of which it may have folded a part."""

    def __init__(self, directory: Path) -> None:
        app = WorkerApp(Settings(data_dir=directory))
        self.table = StateTable(app, "states", Codec(alarms.encode, alarms.decode), 1)
        self.writer = Writer()
        sources = (ALARM_RULES, DEVICE_TELEMETRY, DEVICE_AGGREGATES, DEVICE_REGISTRY, ALARM_ACKNOWLEDGEMENTS, INGRESS_HEARTBEATS)
        self.topics: dict[str, list[Stored]] = {topic: [] for topic in sources}
        self.partition = self.open()

    def open(self) -> PartitionState[alarms.Record]:
        """The partition as after a recovery: what was not committed is gone, and its topics are read on from there."""
        self.partition = opened(self.table, self.writer)
        return self.partition

    def append(
        self, topic: str, at_s: float, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        at_ms = NOON_MS + round(at_s * 1000)
        self.topics[topic].append(Stored(len(self.topics[topic]), at_ms, key, value, headers or []))

    def rule(self, at_s: float, condition: Mapping[str, Any] | None, rule_id: str = "r", **more: Any) -> None:
        value = None if condition is None else rule(condition, rule_id, **more).encode()
        self.append(ALARM_RULES, at_s, rule_id.encode(), value)
        self.fold_all()

    def telemetry(
        self, at_s: float, serial: str = "A", *, site: int = 7, own_s: float | None = None, folded: bool = True, **metrics: float
    ) -> None:
        value = {
            "deviceId": 1, "serialNumber": serial, "siteId": site, "deviceType": "METER", "telemetryData": metrics,
            "timestamp": format_epoch_ms(NOON_MS + round((at_s if own_s is None else own_s) * 1000)), "eventType": "DEVICE_TELEMETRY",
        }  # fmt: skip
        self.append(DEVICE_TELEMETRY, at_s, serial.encode(), orjson.dumps(value))
        if folded:
            self.fold_all()

    def window(self, at_s: float, mean: float, headers: list[tuple[str, bytes]] | None = None) -> None:
        value = {
            "deviceId": 1, "serialNumber": "A", "siteId": 7, "deviceType": "METER", "window": "1m", "revision": 1, "eventCount": 3,
            "windowStart": format_epoch_ms(NOON_MS + round(at_s * 1000) - 60_000), "windowEnd": format_epoch_ms(NOON_MS + round(at_s * 1000)),
            "metrics": {"temperature": {"mean": mean, "count": 3}}, "energyKwh": None,
        }  # fmt: skip
        self.append(DEVICE_AGGREGATES, at_s + 30, b"A", orjson.dumps(value), headers)
        self.fold_all()

    def registry(self, at_s: float, site: int | None, serial: str = "A") -> None:
        entry = {"deviceId": 1, "serialNumber": serial, "siteId": site, "deviceType": "METER"}
        self.append(DEVICE_REGISTRY, at_s, serial.encode(), None if site is None else orjson.dumps(entry))
        self.fold_all()

    def acknowledge(self, at_s: float, alarm_id: str, by: str = "Ann", serial: str = "A") -> None:
        note = Acknowledgement(
            alarm_id=alarm_id, serial_number=serial, acknowledged_by=by, timestamp=from_epoch_ms(NOON_MS + round(at_s * 1000))
        )
        self.append(ALARM_ACKNOWLEDGEMENTS, at_s, serial.encode(), note.encode())
        self.fold_all()

    def heartbeat(self, at_s: float, end: int | None = None, *, folded: bool = True) -> None:
        ahead = len(self.topics[DEVICE_TELEMETRY]) if end is None else end
        beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(NOON_MS + round(at_s * 1000)), telemetry_end=ahead, reports_end=0)
        self.append(INGRESS_HEARTBEATS, at_s, None, beat.encode())
        if folded:
            self.fold_all()

    def listen(self, from_s: int, to_s: int) -> None:
        """Heartbeats without a gap, which are folded as they come."""
        for at_s in range(from_s, to_s + 1, BEAT_S):
            self.heartbeat(at_s)

    def fold(self, topic: str, limit: int = 1000) -> None:
        """The next records of a topic."""
        start = self.partition.positions.get(topic, -1) + 1
        if records := self.topics[topic][start : start + limit]:
            fold_part(partial(fold_batch, gap_ms=GAP_MS), RecordBatch(topic, 0, records, 0), 0, self.partition)

    def fold_all(self) -> None:
        for topic in self.topics:
            self.fold(topic)

    def commit(self) -> list[dict[str, Any]]:
        """The events that are published by it."""
        before = len(self.writer.outputs)
        asyncio.run(self.partition.commit())
        return [orjson.loads(value or b"null") for topic, _, value in self.writer.outputs[before:] if topic == ALARM_EVENTS]

    def steps(self) -> list[tuple[str, str, float]]:
        """What happened to which rule's alarm with the commit, and when."""
        return [(each["eventType"], each["ruleId"], seconds(each["timestamp"])) for each in self.commit()]

    def alarms(self) -> list[Alarm]:
        return [record for _, record in self.partition.items() if isinstance(record, Alarm)]


def seconds(text: str) -> float:
    return (datetime.fromisoformat(text).timestamp() * 1000 - NOON_MS) / 1000

"""Live tables for people: what this worker knows of a device, and who owns what it does not know."""

import heapq
import time
from collections.abc import Iterator
from typing import Any

import structlog

from ems_streams.domain.aggregate_views import aggregates_view, latest_metrics
from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.maintenance import Device, window_view
from ems_streams.domain.notices import flapping_view
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.status_state import device_view
from ems_streams.domain.window_reading import current_windows
from ems_streams.domain.windows import Window, WindowPolicy
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.web.live_alarms import LiveAlarms
from tables.device_aggregates import DeviceQuarters, Record, state_of
from tables.device_status import Record as StatusRecord
from tables.notifications import Record as NoticeRecord
from tables.notifications import notices_of, windows_of

log = structlog.get_logger(__name__)


class LiveTables:
    """Read-only views over the tables of this worker, as folded so far (durable or not)."""

    def __init__(
        self,
        app: WorkerApp,
        aggregates: StateTable[Record],
        status: StateTable[StatusRecord],
        notifications: StateTable[NoticeRecord],
        policy: WindowPolicy,
        *,
        alarms: LiveAlarms,
    ) -> None:
        self._app = app
        self._alarms = alarms
        self._policy = policy
        self._aggregates = aggregates
        self._status = status
        self._notifications = notifications

    def device(self, serial_number: str) -> dict[str, Any] | None:
        """The device view, or None; raises `PartitionNotReadyError`."""
        key = serial_number.encode()
        status = self._status.live(key)
        return self._view(status, self._state(key)) if isinstance(status, DeviceStatusState) else None

    def aggregates(self, serial_number: str, window: Window, limit: int, start_ms: int, end_ms: int) -> dict[str, Any] | None:
        """Total of a device, and its newest windows of a kind that begin between two times, or None; raises `PartitionNotReadyError`."""
        key = serial_number.encode()
        state = self._state(key)
        if state is None:
            return None
        quarters = DeviceQuarters(self._aggregates.partitions[self._aggregates.partition_of(key)], key)
        return aggregates_view(state, current_windows(state, quarters, self._policy, window, limit=limit, start_ms=start_ms, end_ms=end_ms))

    def _state(self, key: bytes) -> DeviceAggregates | None:
        return state_of(self._aggregates.ready(key), key)

    def devices(self, *, after: str, limit: int, sites: frozenset[int] | None, status: str | None) -> dict[str, Any]:
        """Devices of this worker's own partitions behind serial `after`, in the order of their serials."""
        ready = sorted(set(self._status.partitions) & set(self._aggregates.partitions))
        matching = (
            (state.serial_number, state)
            for partition in ready
            for _, state in self._status.partitions[partition].items()
            if isinstance(state, DeviceStatusState)
            and state.serial_number > after
            and (sites is None or state.site_id in sites)
            and (status is None or state.status == status)
        )
        page = heapq.nsmallest(limit, matching, key=lambda item: item[0])
        return {"partitionsAnswered": ready, "devices": [self._view(state, self._state(serial.encode())) for serial, state in page]}

    def _view(self, status: DeviceStatusState, aggregates: DeviceAggregates | None) -> dict[str, Any]:
        latest, latest_ms = latest_metrics(aggregates) if aggregates is not None else ({}, None)
        maintenance, flapping = self._why_untold(status)
        alarms = self._alarms.active_of(status.serial_number)
        return device_view(status, latest, latest_ms, maintenance=maintenance, flapping=flapping, alarms=alarms)

    def _why_untold(self, status: DeviceStatusState) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """What keeps people from being told of a device now: its maintenance window, and its flapping."""
        key = status.serial_number.encode()
        partition = self._notifications.partitions.get(self._notifications.partition_of(key))
        if partition is None:
            return None, None
        device = Device(status.serial_number, status.site_id, status.device_type)
        window = windows_of(partition).active(device, time.time_ns() // 1_000_000)
        notices = notices_of(partition, key)
        return None if window is None else window_view(window), None if notices is None else flapping_view(notices)

    def owner(self, serial_number: str) -> str | None:
        """Base URL of the worker that owns the device's partition; None when nobody does."""
        partition = self._status.partition_of(serial_number.encode())
        return next((url for url, partitions in self.workers().items() if partition in partitions), None)

    def workers(self) -> dict[str, list[int]]:
        """Base URL of every worker of the group with the partitions that it owns."""
        distribution = self._app.router.table_metadata(self._status.name)
        return {_base(url): sorted(partitions) for url, partitions in _owned(distribution, self._status.changelog) if partitions}

    def topology(self) -> dict[str, Any]:
        """Who owns what, for the gateway."""
        return {
            "generation": self._app.consumer_generation_id,
            "partitions": self._status.partition_count,
            "workers": self.workers(),
            "ready": sorted(set(self._status.partitions) & set(self._aggregates.partitions)),
        }


def _owned(distribution: Any, changelog: str) -> Iterator[tuple[str, list[int]]]:
    for url, topics in distribution.items():
        yield url, topics.get(changelog, [])


def _base(url: Any) -> str:
    return str(url).rstrip("/")

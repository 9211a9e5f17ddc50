"""All that this worker knows of a device, in one answer: what `explain` is made of."""

import time
from typing import Any, Final, NamedTuple

from ems_streams.domain.aggregate_views import latest_metrics
from ems_streams.domain.device_facts import DeviceFacts, RuleFacts
from ems_streams.domain.device_facts_of import (
    flapping_facts,
    folded_of,
    maintenance_facts,
    message_facts,
    silence_facts,
    status_facts,
)
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.maintenance import Device
from ems_streams.domain.rule_facts import Surroundings, rule_facts
from ems_streams.domain.silence import SilencePolicy
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.domain.windows import WindowPolicy
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_TELEMETRY
from ems_streams.kafka.state_table import PartitionNotReadyError, StateTable
from tables import alarms as alarms_table
from tables import commands as commands_table
from tables import device_aggregates as aggregates_table
from tables import device_status as status_table
from tables import notifications as notifications_table


class Policies(NamedTuple):
    """By what the states of this worker are made."""

    windows: WindowPolicy
    silence: SilencePolicy
    flapping: FlappingPolicy


class Tables(NamedTuple):
    """The tables that know something of a single device."""

    status: StateTable[status_table.Record]
    aggregates: StateTable[aggregates_table.Record]
    notifications: StateTable[notifications_table.Record]
    alarms: StateTable[alarms_table.Record]
    commands: StateTable[Any]


_AGENTS: Final = ("status", "aggregates", "notifications", "alarms", "commands")


class LiveFacts:
    """Read-only views of the tables, as folded so far (durable or not).

    Args:
        worker_url: Of this worker.
    """

    def __init__(self, worker_url: str, tables: Tables, policies: Policies) -> None:
        self._worker_url = worker_url
        self._tables = tables
        self._policies = policies

    def of(self, serial_number: str) -> dict[str, Any]:
        """What is known of a device, as JSON, also when that is nothing; raises `PartitionNotReadyError`."""
        key = serial_number.encode()
        now_ms = time.time_ns() // 1_000_000
        status = self._tables.status.ready(key)
        state = status_table.state_of(status, key)
        facts: dict[str, Any] = {}
        if state is not None:
            facts = {
                "device_id": state.device_id,
                "site_id": state.site_id,
                "device_type": state.device_type,
                "status": status_facts(state, status.partition),
                "silence": silence_facts(state, status_table.listening_of(status), self._policies.silence),
            }
        facts |= self._of_messages(key)
        found = DeviceFacts(
            serial_number=serial_number,
            worker=self._worker_url,
            as_of=from_epoch_ms(now_ms),
            partition=status.partition,
            folded=self._folded(key),
            rules=self._rules(key, state, facts.get("latest", {})),
            commands_open=self._commands_open(key),
            **facts,
            **self._of_notices(key, state, now_ms),
        )
        return found.model_dump(mode="json", by_alias=True)

    def _of_messages(self, key: bytes) -> dict[str, Any]:
        partition = _ready(self._tables.aggregates, key)
        state = None if partition is None else aggregates_table.state_of(partition, key)
        if state is None:
            return {}
        latest, latest_ms = latest_metrics(state)
        return {
            "messages": message_facts(state, self._policies.windows),
            "latest": latest,
            "latest_at": None if latest_ms is None else from_epoch_ms(latest_ms),
        }

    def _of_notices(self, key: bytes, state: DeviceStatusState | None, now_ms: int) -> dict[str, Any]:
        partition = _ready(self._tables.notifications, key)
        if partition is None:
            return {}
        notices = notifications_table.notices_of(partition, key)
        windows = notifications_table.windows_of(partition)
        return {
            "flapping": None if notices is None else flapping_facts(notices, self._policies.flapping, now_ms),
            "maintenance": () if state is None else maintenance_facts(windows, _device(state), now_ms),
        }

    def _rules(self, key: bytes, state: DeviceStatusState | None, latest: dict[str, float]) -> tuple[RuleFacts, ...] | None:
        partition = _ready(self._tables.alarms, key)
        if partition is None:
            return None
        memory = alarms_table.memory_of(partition, key)
        told = memory or state
        if told is None:
            return ()
        concerning = alarms_table.rules_of(partition).concerning(told.device_type, told.site_id, told.serial_number)
        around = Surroundings(
            partition=partition.partition,
            latest=latest,
            alarms={alarm.alarm_id: alarm for alarm in alarms_table.active_alarms_of(partition, key)},
            listening_since_ms=alarms_table.listening_of(partition).since_ms,
            telemetry_topic=DEVICE_TELEMETRY,
            windows_topic=DEVICE_AGGREGATES,
        )
        return rule_facts(concerning, memory, around)

    def _commands_open(self, key: bytes) -> int:
        partition = _ready(self._tables.commands, key)
        return 0 if partition is None else len(commands_table.queue_of(partition, key).open)

    def _folded(self, key: bytes) -> dict[str, int]:
        partitions = ((name, _ready(getattr(self._tables, name), key)) for name in _AGENTS)
        return folded_of((name, dict(partition.positions)) for name, partition in partitions if partition is not None)


def _ready(table: StateTable[Any], key: bytes) -> Any:
    """The partition of a key; None while it is not ready here: the rest can be told all the same."""
    try:
        return table.ready(key)
    except PartitionNotReadyError:
        return None


def _device(state: DeviceStatusState) -> Device:
    return Device(state.serial_number, state.site_id, state.device_type)

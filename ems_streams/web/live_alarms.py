"""Alarms for people: what this worker knows of those in its partitions."""

import heapq
from collections import Counter
from typing import Any

from ems_streams.domain.alarm_index import AlarmFilter, Place
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import Alarm
from ems_streams.domain.events import Severity
from ems_streams.kafka.state_table import StateTable
from tables.alarms import Record, active_alarms_of, alarm_of, index_of


class LiveAlarms:
    """Read-only views over the alarms of this worker, as folded so far (durable or not)."""

    def __init__(self, table: StateTable[Record]) -> None:
        self._table = table

    def page(self, wanted: AlarmFilter, after: Place | None, limit: int) -> dict[str, Any]:
        """The newest alarms that are wanted, or those behind a place in their order."""
        partitions = dict(self._table.partitions)
        matching = (
            (entry.place, number)
            for number, partition in partitions.items()
            for entry in index_of(partition).values()
            if wanted.wants(entry) and (after is None or entry.place > after)
        )
        page = heapq.nsmallest(limit, matching)
        found = (alarm_of(partitions[number], alarm_id) for (_, alarm_id), number in page)
        return {"partitionsAnswered": sorted(partitions), "alarms": [alarm.view() for alarm in found if alarm is not None]}

    def find(self, alarm_id: str) -> dict[str, Any]:
        """The alarm of an id, null when it is in none of this worker's partitions."""
        partitions = dict(self._table.partitions)
        found: Alarm | None = None
        for partition in partitions.values():
            found = found or (alarm_of(partition, alarm_id) if alarm_id in index_of(partition) else None)
        return {"partitionsAnswered": sorted(partitions), "alarm": None if found is None else found.view()}

    def active_counts(self) -> Counter[tuple[AlarmState, Severity]]:
        """How many alarms are not cleared, by state and severity."""
        return Counter(
            (entry.state, entry.severity)
            for partition in list(self._table.partitions.values())
            for entry in index_of(partition).values()
            if entry.state is not AlarmState.CLEARED
        )

    def active_of(self, serial_number: str) -> list[dict[str, Any]] | None:
        """Alarms of a device that are not cleared; None while its partition is not ready here."""
        key = serial_number.encode()
        partition = self._table.partitions.get(self._table.partition_of(key))
        return None if partition is None else [alarm.view() for alarm in active_alarms_of(partition, key)]

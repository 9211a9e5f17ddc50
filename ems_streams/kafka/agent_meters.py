"""What is counted of one agent of the worker: once per batch and once per commit, never per record."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.errors import MalformedError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.metrics import worker
from ems_streams.metrics.dependencies import count_dead_letters
from ems_streams.metrics.model import CounterChild

_MS_PER_S: Final = 1000.0


class AgentMeters:
    """Counters of one agent, which are there, at zero, before anything happens.

    Args:
        agent: Its name.
    """

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._folded_records: dict[str, CounterChild] = {}
        self._batch_records = worker.BATCH_RECORDS.labels(agent)
        self._fold_seconds = worker.FOLD_SECONDS.labels(agent)
        self._receive_to_table = worker.RECEIVE_TO_TABLE.labels(agent)
        self._device_to_table = worker.DEVICE_TO_TABLE.labels(agent)
        self._commit_seconds = worker.COMMIT_SECONDS.labels(agent)
        self._changelog_records = worker.CHANGELOG_RECORDS.labels(agent)
        self._changelog_bytes = worker.CHANGELOG_BYTES.labels(agent)
        self.fold_failures = worker.FOLD_FAILURES.labels(agent)
        self.commit_failures = worker.COMMIT_FAILURES.labels(agent)

    def folded(self, batch: RecordBatch, start: int, began_s: float) -> None:
        """A batch was folded from index `start` on; it began at `began_s` of `time.perf_counter`."""
        self._fold_seconds.observe(time.perf_counter() - began_s)
        self._batch_records.observe(len(batch) - start)
        folded = self._folded_records.get(batch.topic)
        if folded is None:
            # Looking it up costs more than counting.
            folded = self._folded_records[batch.topic] = worker.FOLDED_RECORDS.labels(self._agent, batch.topic)
        folded.inc(len(batch) - start)
        if batch.topic == DEVICE_TELEMETRY:
            self._tell_latency(batch, start)

    def _tell_latency(self, batch: RecordBatch, start: int) -> None:
        # The oldest message has waited longest, so no other of the batch was later than it says.
        now_s = time.time()
        self._receive_to_table.observe(max(0.0, now_s - batch.records[start].timestamp / _MS_PER_S))
        event = batch.known(decode_telemetry_record, start)
        if event is not None and not isinstance(event, MalformedError):
            self._device_to_table.observe(max(0.0, now_s - event.timestamp_ms / _MS_PER_S))

    def committed(
        self, took_s: float, changes: Mapping[bytes, bytes | None], outputs: Mapping[tuple[str, int], Sequence[KeyValue]]
    ) -> None:
        """A commit got through."""
        self._commit_seconds.observe(took_s)
        self._changelog_records.inc(len(changes))
        self._changelog_bytes.inc(sum(map(len, changes)) + sum(len(value) for value in changes.values() if value))
        for (topic, _), records in outputs.items():
            worker.PUBLISHED_RECORDS.labels(self._agent, topic).inc(len(records))
        count_dead_letters(outputs)

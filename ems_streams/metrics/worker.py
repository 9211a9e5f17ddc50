"""Metrics of the worker: folds, commits, tables, recovery, the group."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, LATENCY_S, SIZES, WORK_S, Label, Process

_WORKER: Final = frozenset({Process.WORKER})

FOLDED_RECORDS: Final = DEFINITIONS.counter(
    "ems_folded_records_total", "Records folded, by agent and source topic; again after a rollback", _WORKER, Label.AGENT, Label.TOPIC
)
BATCH_RECORDS: Final = DEFINITIONS.quick_histogram(
    "ems_batch_records", "Records folded at once: those of one partition from one poll", _WORKER, Label.AGENT, buckets=SIZES
)
FOLD_SECONDS: Final = DEFINITIONS.quick_histogram("ems_fold_seconds", "Time to fold a batch", _WORKER, Label.AGENT, buckets=WORK_S)
FOLD_FAILURES: Final = DEFINITIONS.counter(
    "ems_fold_failures_total", "Folds that raised; their partition is recovered and the record at fault looked for", _WORKER, Label.AGENT
)
RECEIVE_TO_TABLE: Final = DEFINITIONS.quick_histogram(
    "ems_receive_to_table_seconds",
    "From the ingress having a message to the live table having it; of the oldest message of each batch of telemetry",
    _WORKER,
    Label.AGENT,
    buckets=LATENCY_S,
)
DEVICE_TO_TABLE: Final = DEFINITIONS.quick_histogram(
    "ems_device_to_table_seconds",
    "From the device's own time of a message to the live table having it; of the oldest message of each batch of telemetry",
    _WORKER,
    Label.AGENT,
    buckets=LATENCY_S,
)

COMMIT_SECONDS: Final = DEFINITIONS.histogram(
    "ems_commit_seconds", "Time of a commit that got through: the transaction, and the local store", _WORKER, Label.AGENT, buckets=WORK_S
)
COMMIT_FAILURES: Final = DEFINITIONS.counter(
    "ems_commit_failures_total", "Commits that Kafka did not take; all partitions are recovered then", _WORKER, Label.AGENT
)
CHANGELOG_RECORDS: Final = DEFINITIONS.counter(
    "ems_changelog_records_total", "States written to the changelog, deletions and positions among them", _WORKER, Label.AGENT
)
CHANGELOG_BYTES: Final = DEFINITIONS.counter("ems_changelog_bytes_total", "Bytes of their keys and values", _WORKER, Label.AGENT)
PUBLISHED_RECORDS: Final = DEFINITIONS.counter(
    "ems_published_records_total", "Records published with commits, by agent and topic", _WORKER, Label.AGENT, Label.TOPIC
)
UNCOMMITTED_STATES: Final = DEFINITIONS.gauge("ems_uncommitted_states", "Changed states that wait for a commit", _WORKER, Label.AGENT)
UNCOMMITTED_OUTPUTS: Final = DEFINITIONS.gauge("ems_uncommitted_outputs", "Records that wait to be published", _WORKER, Label.AGENT)

CACHED_STATE_BYTES: Final = DEFINITIONS.gauge(
    "ems_cached_state_bytes",
    "States of the agent's table that are in memory, in their stored form; beyond 256 MiB they leave with the next commit",
    _WORKER,
    Label.AGENT,
)
STORE_BUFFER_BYTES: Final = DEFINITIONS.gauge(
    "ems_store_buffer_bytes",
    "What RocksDB holds in memory of what was written to the agent's table, and not yet to its files",
    _WORKER,
    Label.AGENT,
)
STORE_CACHE_BYTES: Final = DEFINITIONS.gauge(
    "ems_store_cache_bytes", "What RocksDB holds in memory of what was read from the files of all tables; at most 64 MiB", _WORKER
)

TABLE_PARTITIONS: Final = DEFINITIONS.gauge(
    "ems_table_partitions", "Partitions of the agent's table that are recovered and open here", _WORKER, Label.AGENT
)
PARTITIONS: Final = DEFINITIONS.gauge("ems_partitions", "Partitions that there are (`EMS_PARTITIONS`)", _WORKER)
REBALANCES: Final = DEFINITIONS.counter("ems_rebalances_total", "Assignments that the group has made", _WORKER)
OUTSIDE_GROUP: Final = DEFINITIONS.gauge(
    "ems_outside_group", "1 while the group has given this worker's partitions away and nothing new is assigned", _WORKER
)
RECOVERED_RECORDS: Final = DEFINITIONS.counter("ems_recovered_records_total", "Changelog records applied in recoveries", _WORKER)
RECOVERY_SECONDS: Final = DEFINITIONS.histogram(
    "ems_recovery_seconds",
    "Time of a recovery that was completed",
    _WORKER,
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0),
)
RECOVERY_FAILURES: Final = DEFINITIONS.counter(
    "ems_recovery_failures_total", "Recoveries that failed, and were put off or ended the worker", _WORKER
)
DISK_FREE: Final = DEFINITIONS.gauge("ems_disk_free_bytes", "Room on the disk of the local stores", _WORKER)
DISK_SIZE: Final = DEFINITIONS.gauge("ems_disk_size_bytes", "Size of that disk", _WORKER)

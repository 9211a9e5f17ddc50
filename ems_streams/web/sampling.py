"""What a worker's metrics say of the moment: lag, what waits, which partitions are here."""

import shutil

from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.events import Severity
from ems_streams.kafka.store import block_cache_used_bytes
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.metrics import alarms as alarm_metrics
from ems_streams.metrics import dependencies, worker
from ems_streams.web.live_alarms import LiveAlarms

_ACTIVE_STATES = tuple(state for state in AlarmState if state is not AlarmState.CLEARED)


def sample(app: WorkerApp, alarms: LiveAlarms) -> None:
    """Set the gauges of a worker, from memory and, for the disk, one call of the system."""
    settings, engine = app.settings, app.engine
    dependencies.KAFKA_REACHABLE.set(app.kafka.reachable)
    dependencies.show_breaker("kafka", engine.breaker)
    dependencies.STALL_SECONDS.set(app.watchdog.watch.longest_s)
    # Partitions come and go: what is not ours any more has no lag here.
    dependencies.LAG.clear()
    for tp, lag in app.lags.items():
        dependencies.LAG.labels(tp.topic, tp.partition).set(lag)
    for agent in engine.agents.values():
        partitions = list(agent.table.partitions.values())
        waiting = [partition.waiting for partition in partitions]
        worker.TABLE_PARTITIONS.labels(agent.name).set(len(partitions))
        worker.UNCOMMITTED_STATES.labels(agent.name).set(sum(states for states, _ in waiting))
        worker.UNCOMMITTED_OUTPUTS.labels(agent.name).set(sum(outputs for _, outputs in waiting))
        worker.CACHED_STATE_BYTES.labels(agent.name).set(sum(partition.cached_bytes for partition in partitions))
        worker.STORE_BUFFER_BYTES.labels(agent.name).set(agent.table.store.buffered_bytes)
    worker.STORE_CACHE_BYTES.set(block_cache_used_bytes())
    worker.PARTITIONS.set(settings.partitions)
    worker.OUTSIDE_GROUP.set(app.outside_group)
    disk = shutil.disk_usage(settings.worker_data_dir)
    worker.DISK_FREE.set(disk.free)
    worker.DISK_SIZE.set(disk.total)
    active = alarms.active_counts()
    for state in _ACTIVE_STATES:
        for severity in Severity:
            alarm_metrics.ALARMS.labels(state.lower(), severity).set(active[state, severity])

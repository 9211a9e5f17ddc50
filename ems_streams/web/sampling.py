"""What a worker's metrics say of the moment: lag, what waits, which partitions are here."""

import shutil

from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.metrics import dependencies, worker


def sample(app: WorkerApp) -> None:
    """Set the gauges of a worker, from memory and, for the disk, one call of the system."""
    settings, engine = app.settings, app.engine
    dependencies.KAFKA_REACHABLE.set(app.kafka.reachable)
    dependencies.show_breaker("kafka", engine.breaker)
    dependencies.STALL_SECONDS.set(app.watchdog.longest_stall_s)
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
    worker.PARTITIONS.set(settings.partitions)
    worker.OUTSIDE_GROUP.set(app.outside_group)
    disk = shutil.disk_usage(settings.worker_data_dir)
    worker.DISK_FREE.set(disk.free)
    worker.DISK_SIZE.set(disk.total)

"""Our worker with its `aggregates` agent alone: what the peers do, and nothing besides.

The process is the real one; only the composition root registers one agent alone, and no windows are published when they close, since the peers
publish none. What windows are made of is kept all the same. Takes no arguments.
"""

import sys

import agents.aggregates
import ems_streams.app
import tables.device_aggregates
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.processes import worker
from ems_streams.settings import Settings


def aggregates_app(settings: Settings) -> WorkerApp:
    """As `ems_streams.app.worker_app`, with one agent and no views."""
    app = WorkerApp(settings)
    table = tables.device_aggregates.declare(app, settings.partitions)
    app.add_batch_agent(agents.aggregates.agent(table, settings))
    return app


if __name__ == "__main__":
    # The worker process imports its composition root when it needs it.
    ems_streams.app.worker_app = aggregates_app
    sys.exit(worker.run(Settings.load(published_windows=())))

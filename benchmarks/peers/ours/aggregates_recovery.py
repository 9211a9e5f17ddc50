"""As `aggregates_only.py`, and says in its log when it goes on with its work after a recovery. Takes no arguments."""

import sys

import structlog
from aggregates_only import aggregates_app

import ems_streams.app
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.processes import worker
from ems_streams.settings import Settings

log = structlog.get_logger("benchmarks.recovery")


def recovery_app(settings: Settings) -> WorkerApp:
    """The app of `aggregates_only.py`, with a line for the moment that its streams run."""
    app = aggregates_app(settings)
    app.on_recovered = lambda: log.info("streams_run")
    return app


if __name__ == "__main__":
    # The worker process imports its composition root when it needs it.
    ems_streams.app.worker_app = recovery_app
    sys.exit(worker.run(Settings.load(published_windows=())))

"""How a worker is, for the gateway's view of the pipeline."""

from typing import Any

from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.ops.health import Health


def condition(app: WorkerApp, health: Health) -> dict[str, Any]:
    """From memory: whether it is ready, by which checks, its circuit breaker, and how many records of each of its partitions it has not read yet."""
    status, report = health.readyz()
    lags: dict[str, dict[str, int]] = {}
    for tp, lag in app.lags.items():
        lags.setdefault(tp.topic, {})[str(tp.partition)] = lag
    return {"ready": status == 200, "checks": report["checks"], "breaker": app.engine.breaker.state, "lags": lags}

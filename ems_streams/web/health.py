"""Health of a worker: alive while its loop turns, ready while it owns what it was assigned and has recovered it."""

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.ops.health import CheckResult, Health


def worker_health(app: WorkerApp) -> Health:
    """The checks of a worker; started means that the first assignment is recovered."""
    health = Health()
    app.on_recovered = health.mark_started

    def assigned() -> CheckResult:
        count = len(app.assignor.assigned_actives())
        return CheckResult(
            not app.rebalancing and bool(app.consumer_generation_id), f"{count} topic partitions, generation {app.consumer_generation_id}"
        )

    def recovered() -> CheckResult:
        missing = app.engine.missing_partitions(app.assignor.assigned_actives())
        if app.tables.actives_ready and not missing:
            return CheckResult(True, "all partitions recovered")
        return CheckResult(False, f"recovering: {len(missing)} table partitions to go")

    def kafka() -> CheckResult:
        if not app.kafka.reachable:
            return CheckResult(False, app.kafka.detail)
        breaker = app.engine.breaker
        if breaker.state is BreakerState.CLOSED:
            return CheckResult(True, app.settings.kafka_bootstrap_servers)
        return CheckResult(False, f"circuit breaker {breaker.state}: {breaker.reason}")

    def commits() -> CheckResult:
        # A recovery closes the breaker, and says nothing about the next commit.
        failing = [f"{partition}, {each.failures} in a row: {each.reason}" for partition, each in app.engine.troubles.repeated.items()]
        return CheckResult(not failing, f"commits fail: {'; '.join(failing)}" if failing else f"circuit breaker {app.engine.breaker.state}")

    def failed() -> CheckResult:
        error = app.failure or (app.crash_reason if app.crashed else None)
        return CheckResult(error is None, "running" if error is None else f"stopping: {error}")

    def progress() -> CheckResult:
        watch = app.watchdog.watch
        detail = f"no progress: {watch.where}" if watch.stalled else "every partition moves, or is at its end"
        return CheckResult(not watch.stuck, detail)

    health.add_liveness("engine", failed)
    health.add_liveness("progress", progress)
    # Also here: what is about to end must not be sent any more work.
    health.add_readiness("engine", failed)
    health.add_readiness("kafka", kafka)
    health.add_readiness("commits", commits)
    health.add_readiness("assigned", assigned)
    health.add_readiness("recovered", recovered)
    return health

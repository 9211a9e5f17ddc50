"""Health of a worker: what is about to end says so on every probe that matters."""

from pathlib import Path

from ems_streams.errors import EmsError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings
from ems_streams.web.health import worker_health


def test_a_worker_that_failed_is_neither_alive_nor_ready(tmp_path: Path) -> None:
    app = WorkerApp(Settings(data_dir=tmp_path))
    health = worker_health(app)
    assert health.livez()[0] == 200
    assert health.readyz()[1]["checks"]["engine"]["ok"]  # type: ignore[index]
    app.failure = EmsError("device-telemetry partition 3: what happened")
    for status, body in (health.livez(), health.readyz()):
        assert status == 503
        check = body["checks"]["engine"]  # type: ignore[index]
        assert not check["ok"]
        assert "device-telemetry partition 3: what happened" in check["detail"]


def test_a_crash_of_any_service_counts_as_failure(tmp_path: Path) -> None:
    app = WorkerApp(Settings(data_dir=tmp_path))
    health = worker_health(app)
    app._crash(RuntimeError("the consumer thread died"))
    for _, body in (health.livez(), health.readyz()):
        assert "the consumer thread died" in body["checks"]["engine"]["detail"]  # type: ignore[index]

"""A record that a fold cannot process, although nothing is wrong with its form: retried, then put aside, and never both counted and dead."""

from functools import partial

import pytest
from aiokafka import ConsumerRecord

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, dlt_of
from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.failing_processes import FOLD_LATER_KW, FOLD_NEVER_KW
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

DEVICES = 8
RECORDS_PER_DEVICE = 50


def failing_worker(deployment: Deployment) -> Running:
    port = deployment.ports.worker
    program = ("-m", "tests.support.failing_processes")
    return deployment.start("worker-0", ["worker"], port, {"EMS_WORKER_PORT": str(port)}, program=program)


def test_every_record_is_either_counted_or_dead(deployment: Deployment) -> None:
    """One in fifty records fails for good, another for a while; the worker is killed in the middle of retries."""
    serials = [f"{deployment.application_id}-{number}" for number in range(DEVICES)]
    power_kw = {20: FOLD_LATER_KW, 30: FOLD_NEVER_KW}
    records = [telemetry(serial, power_kw.get(second, float(second)), second) for second in range(RECORDS_PER_DEVICE) for serial in serials]
    doomed = sorted(telemetry(serial, FOLD_NEVER_KW, 30) for serial in serials)
    worker = failing_worker(deployment).wait_until_ready()
    produce(deployment.stack.kafka_bootstrap, records)
    for kills in range(1, 4):
        retried = partial(retries, worker, at_least=2 * kills)
        eventually(retried, 60, "a retry")
        worker.kill()
        worker = failing_worker(deployment).wait_until_ready()

    expected = {
        "count": RECORDS_PER_DEVICE - 1,
        "sum": sum(range(RECORDS_PER_DEVICE)) - 20 - 30 + FOLD_LATER_KW,
        "min": 0.0,
        "max": FOLD_LATER_KW,
        "last": float(RECORDS_PER_DEVICE - 1),
    }

    def right() -> bool:
        return all(expected.items() <= total(worker, serial).items() for serial in serials)

    eventually(right, 60, f"all that does not fail is counted: {expected}")
    found = [letter for letter in letters(deployment) if letter.value in {value for _, value in doomed}]
    assert sorted((letter.key, letter.value) for letter in found) == doomed
    for letter in found:
        headers = dict(letter.headers)
        assert headers["dlt-attempts"] == b"4"
        assert headers["dlt-error-class"] == b"ValueError"
        assert headers["dlt-stage"] == b"aggregates"
        assert headers["dlt-first-failed-at"] > b"2026"
    assert len(letters(deployment)) == len(doomed), "what failed for a while is not dead"
    assert get(f"{worker.url}/readyz")[0] == 200


def retries(worker: Running, at_least: int) -> bool:
    return worker.log_file.read_text().count("stamina.retry_scheduled") >= at_least


def letters(deployment: Deployment) -> list[ConsumerRecord]:
    mine = deployment.application_id.encode()
    return [record for record in consume(deployment.stack.kafka_bootstrap, dlt_of(DEVICE_TELEMETRY)) if mine in (record.key or b"")]

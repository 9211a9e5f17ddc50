"""A worker that is paused past its session and wakes: it lets go of what is no longer its own, and disturbs nobody."""

import signal
import time

import pytest

from tests.integration.worker.test_worker import produce, telemetry, total
from tests.support.processes import Deployment, eventually

pytestmark = pytest.mark.integration

SESSION_TIMEOUT_S = 6.0
DEVICES = 12


def test_a_woken_worker_does_not_fence_the_new_owners(deployment: Deployment) -> None:
    workers = [deployment.worker(index) for index in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    serials = [f"{deployment.application_id}-{number}" for number in range(DEVICES)]
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        produce(deployment.stack.kafka_bootstrap, [telemetry(serial, 1.0, sent + second) for second in range(count) for serial in serials])
        sent += count

    def all_counted(asked: int) -> bool:
        return all(total(workers[asked], serial).get("count") == sent for serial in serials)

    send(5)
    eventually(lambda: all_counted(1), 30, "counted before the pause")
    send(2)  # the paused one has work in memory, or under way, that it will try to commit
    workers[1].popen.send_signal(signal.SIGSTOP)
    try:
        time.sleep(SESSION_TIMEOUT_S + 3.0)
        send(5)
        eventually(lambda: all_counted(0), 30, "the other one has taken over")
    finally:
        workers[1].popen.send_signal(signal.SIGCONT)
    for worker in workers:
        worker.wait_until_ready()
    send(5)
    for asked in range(2):
        eventually(lambda asked=asked: all_counted(asked), 30, "counted after the pause")  # type: ignore[misc]
    assert [worker.popen.poll() for worker in workers] == [None, None], workers[1].log_tail()
    assert "another worker owns" not in workers[0].log_file.read_text(), "the rightful owner was fenced"

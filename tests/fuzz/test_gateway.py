"""Requests and frames that nobody expects to a gateway on real servers: no 500, nothing in its log, and it goes on."""

import socket
import threading

import orjson
import pytest

from tests.fuzz.gateways import troubles_of
from tests.fuzz.remote import feed, frames, request
from tests.support.processes import Deployment, get

pytestmark = pytest.mark.integration

REQUESTS, SOCKETS = 150, 30


def test_nothing_that_is_sent_to_the_gateway_makes_it_fail(deployment: Deployment) -> None:
    deployment.extra["EMS_LOG_FORMAT"] = "json"
    worker = deployment.worker().wait_until_ready()
    gateway = deployment.gateway().wait_until_ready()
    requests = feed(gateway.port, request, inputs=REQUESTS)
    sockets = feed(gateway.port, frames, inputs=SOCKETS)
    assert (requests.detail, sockets.detail) == ("", "")
    assert troubles_of(gateway) == ""
    assert min(requests.taken, requests.refused) >= 10, requests.statuses
    assert sockets.statuses.total() == SOCKETS
    assert all(orjson.loads(line)["process"] == "gateway" for line in gateway.log_file.read_bytes().splitlines())
    assert get(f"{gateway.url}/readyz")[0] == 200
    assert worker.popen.poll() is None


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Oops\r\n\r\n", b"", b"HTTP/1.1 400 Bad\r\n\r\n{}"])
def test_an_answer_that_should_not_be_is_noticed(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        found = feed(server.getsockname()[1], request, inputs=200)
    assert found.detail


def _answer(server: socket.socket, answer: bytes) -> None:
    try:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
    except OSError:
        return

"""The embedded servers for tests: one stack for the whole session, on free ports, in a temporary directory.

In a conftest: `from tests.support.stack import stack  # noqa: F401`. Tests that kill or stop a server start it again.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Running Kafka, MQTT broker and PostgreSQL; usable from any event loop."""
    running = EmbeddedStack(tmp_path_factory.mktemp("stack"), Ports.free())
    # Not bound to the loop of the test: each test has its own, and the servers belong to all of them. Started from this thread,
    # which lives as long as the session does, since the kernel ends a server with the thread that started it.
    _run(running.start())
    try:
        yield running
    finally:
        _run(running.stop())


def _run(work: Coroutine[Any, Any, object]) -> None:
    """Run to the end in this thread when it has no running loop, in another one otherwise."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    done: Future[None] = Future()

    def target() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=target, name="stack").start()
    done.result()

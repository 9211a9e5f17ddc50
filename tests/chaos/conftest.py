"""Servers and a system of their own for each chaos test: what one test breaks, no other meets. At the end, all verdicts in a table."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ems_streams.dev.kafka import Listener
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from tests.chaos.harness import SCALE, SEED, System
from tests.chaos.results import VERDICTS, table
from tests.support.network import Link
from tests.support.processes import Deployment

LINKS = 2
MUTATION = os.environ.get("EMS_CHAOS_MUTATION", "")
RESULTS = Path(".ems-chaos/results.txt")


@pytest.fixture(scope="session", autouse=True)
def _announce() -> None:
    print(f"\nCHAOS scale {SCALE:g} (EMS_CHAOS_SCALE), seed {SEED} (EMS_CHAOS_SEED)", flush=True)


@dataclass
class Site:
    """Running servers, and networks to Kafka that can be cut."""

    stack: EmbeddedStack
    links: list[Link]


@pytest.fixture
def site() -> Iterator[Site]:
    """On empty data; started from the main thread, since the kernel ends a server with the thread that started it."""
    directory = Path(tempfile.mkdtemp(prefix="ems-chaos-"))
    ports = Ports.free()
    # The room for workers: those of a deployment have ports of their own.
    listeners = [Listener(port=ports.worker + 2 * number, advertised_port=ports.worker + 2 * number + 1) for number in range(LINKS)]
    stack = EmbeddedStack(directory, ports, kafka_listeners=listeners)
    with contextlib.ExitStack() as closing:
        closing.callback(shutil.rmtree, directory, ignore_errors=True)
        links = [closing.enter_context(Link(each.advertised_port, each.port)) for each in listeners]
        closing.callback(lambda: asyncio.run(stack.stop()))
        asyncio.run(stack.start())
        yield Site(stack, links)


@pytest.fixture
def system(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """Topics applied, nothing started yet; everything that a test starts is ended after it."""
    deployed = Deployment(site.stack, tmp_path, f"chaos-{uuid.uuid4().hex[:8]}")
    # Each transition is to be told of, and only what was reported is a transition: the oracles know nothing else.
    deployed.extra |= {"EMS_FLAPPING_THRESHOLD": "0", "EMS_SILENCE_TIMEOUT_S": "0", "EMS_SILENCE_TIMEOUTS": "none"}
    try:
        deployed.command("topics", "apply")
        if MUTATION:
            deployed.program = ("-m", "tests.chaos.mutant", MUTATION)
        yield System(deployed, request.node.name.removeprefix("test_"), site.links)
    finally:
        deployed.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The verdicts of the run, and the tests that broke before they had one."""
    judged = {each.test for each in VERDICTS}
    broken = {
        report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, []) if "tests/chaos/" in report.nodeid
    }
    lines = table(sorted(broken - judged))
    if not lines:
        return
    lines.insert(0, f"scale {SCALE:g}, seed {SEED}")
    path = config.rootpath / RESULTS
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.section(f"chaos, also in {RESULTS}")
    for line in lines:
        terminalreporter.write_line(line)

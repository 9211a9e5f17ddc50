"""A system for doctor to look at: its servers are those of the session, its processes are started when a test asks for them."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ems_streams.dev.stack import EmbeddedStack
from tests.support.deployment import forget_records
from tests.support.processes import Deployment


@pytest.fixture(scope="module")
def system(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics are applied and the schema is there; no process runs."""
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    deployed = Deployment(stack, Path(tmp_path_factory.mktemp(name)), name)
    deployed.extra = {"EMS_HEARTBEAT_INTERVAL_S": "0.5", "EMS_SILENCE_TIMEOUTS": "none", "EMS_SINK_PORT": str(deployed.ports.sink)}
    with contextlib.ExitStack() as exits:
        exits.callback(deployed.stop)
        deployed.command("topics", "apply")
        deployed.command("db", "migrate")
        forget_records(stack.kafka_bootstrap, deployed.partitions)
        yield deployed

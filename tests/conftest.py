"""Fixtures for all tests. The servers start once, when the first test asks for them."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from ems_streams.dev.stack import EmbeddedStack
from tests.support.stack import stack  # noqa: F401 - a fixture

# How long an example takes says how busy the machine is; a test that hangs has a timeout of its own.
settings.register_profile("ems", deadline=None)
settings.load_profile("ems")

_OWN_TEMP = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each session a temporary directory of its own.

    The shared one is closed to other users whenever another session starts. Run by root, PostgreSQL is another user, and would
    lose its files in the middle of a test.
    """
    if config.option.basetemp is None:
        config.stash[_OWN_TEMP] = Path(tempfile.mkdtemp(prefix="ems-tests-"))
        config.option.basetemp = str(config.stash[_OWN_TEMP] / "t")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the files of a failed run only."""
    own = session.config.stash.get(_OWN_TEMP, None)
    if own is not None and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_servers(stack: EmbeddedStack) -> str:  # noqa: F811 - the fixture
    """Bootstrap servers of the embedded Kafka."""
    return stack.kafka_bootstrap

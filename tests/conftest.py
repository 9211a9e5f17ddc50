"""Fixtures for all tests. The servers start once, when the first test asks for them."""

import pytest

from ems_streams.dev.stack import EmbeddedStack
from tests.support.stack import stack  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def kafka_servers(stack: EmbeddedStack) -> str:  # noqa: F811 - the fixture
    """Bootstrap servers of the embedded Kafka."""
    return stack.kafka_bootstrap

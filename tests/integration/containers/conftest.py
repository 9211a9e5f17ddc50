"""Servers with topics."""

from tests.support.deployment import deployment  # noqa: F401 - a fixture

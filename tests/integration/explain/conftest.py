"""A whole system on the embedded stack, for the tests of this folder."""

from tests.support.deployment import deployment  # noqa: F401 - a fixture

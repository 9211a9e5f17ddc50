"""A secured Kafka for the tests of this folder."""

from tests.support.secure_kafka import secure_kafka  # noqa: F401 - a fixture

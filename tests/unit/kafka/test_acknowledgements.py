"""Acknowledgements while Kafka is away; those that it takes are in tests/integration."""

from datetime import UTC, datetime

import pytest

from ems_streams.domain.alarms import Acknowledgement
from ems_streams.errors import DependencyError
from ems_streams.kafka import acknowledgements
from ems_streams.kafka.acknowledgements import publish_acknowledgement
from ems_streams.settings import Settings


async def test_a_kafka_that_is_away_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "PUBLISH_TIMEOUT_S", 0.3)
    note = Acknowledgement(alarm_id="a" * 32, serial_number="A", acknowledged_by="ann", timestamp=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(DependencyError, match=r"Kafka does not answer at 127\.0\.0\.1:1"):
        await publish_acknowledgement(Settings(kafka_bootstrap_servers="127.0.0.1:1"), note)

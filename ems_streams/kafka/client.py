"""Options that every Kafka client of ours shares, in one place."""

from typing import Any

from ems_streams.kafka.broken_connections import say_broken_connections
from ems_streams.kafka.refusals import note_refusals
from ems_streams.kafka.security import aiokafka_security
from ems_streams.settings import Settings

MAX_REQUEST_BYTES = 6 * 1024 * 1024
"""Room for a dead letter of 4 MiB with its headers, in one produce request."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Bootstrap servers, credentials and timeouts for an aiokafka client."""
    say_broken_connections()
    note_refusals()
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "request_timeout_ms": int(settings.kafka_request_timeout_s * 1000),
        **aiokafka_security(settings),
    }


def producer_options(settings: Settings) -> dict[str, Any]:
    """An idempotent producer with acks=all whose batches may be as large as a request."""
    return {
        **client_options(settings),
        "acks": "all",
        "enable_idempotence": True,
        "max_batch_size": 512 * 1024,
        "max_request_size": MAX_REQUEST_BYTES,
    }

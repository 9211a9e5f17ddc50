"""Who has what this worker does not have."""

from typing import Any

from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp


def owner_of(app: WorkerApp, table: StateTable[Any], key: bytes) -> str | None:
    """Base URL of the worker that owns a key's partition of a table; None when nobody does."""
    number = table.partition_of(key)
    distribution = app.router.table_metadata(table.name)
    owners = (url for url, topics in distribution.items() if number in topics.get(table.changelog, ()))
    return next((str(url).rstrip("/") for url in owners), None)

"""Begins the traces of messages that are followed, one span each from the batch until Kafka has it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ems_streams.kafka.catalogue import DEVICE_REGISTRY
from ems_streams.kafka.outbox import Record
from ems_streams.tracing import current


@contextlib.contextmanager
def traced(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records, some of them with a header that carries their trace; their spans end with the context. The same ones while tracing is off."""
    tracing = current()
    if tracing is None:
        yield records
        return
    spans, kept = [], []
    for record in records:
        # What a message brings about in the registry is no message.
        if record.topic != DEVICE_REGISTRY and tracing.chosen():
            span, header = tracing.begin(f"{record.topic} ingest", {"messaging.system": "mqtt", "messaging.destination.name": record.topic})
            spans.append(span)
            kept.append(replace(record, headers=[*record.headers, header]))
        else:
            kept.append(record)
    try:
        yield kept
    finally:
        for span in spans:
            span.end()

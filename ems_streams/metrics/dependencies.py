"""Metrics about Kafka, PostgreSQL and whatever else a process depends on, of the processes that do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.metrics.model import DEFINITIONS, Label, Process

_PRODUCERS: Final = frozenset({Process.INGRESS, Process.SINK})
_READERS: Final = frozenset({Process.WORKER, Process.SINK})
_WATCHED: Final = frozenset({Process.INGRESS, Process.WORKER, Process.SINK, Process.NOTIFIER})
_BREAKERS: Final = frozenset({Process.INGRESS, Process.WORKER, Process.SINK})
_DLT_SUFFIX: Final = "-dlt"
_ERROR_CLASS_HEADER: Final = "dlt-error-class"
_ERROR_CLASSES_MAX: Final = 60

BREAKER_STATE: Final = DEFINITIONS.gauge(
    "ems_breaker_state", "State of a circuit breaker: 1 for the one it is in", _BREAKERS, Label.BREAKER, Label.STATE
)
KAFKA_REACHABLE: Final = DEFINITIONS.gauge(
    "ems_kafka_reachable", "1 while the brokers answer a question asked every few seconds", frozenset({Process.WORKER, Process.NOTIFIER})
)
DELIVERED_RECORDS: Final = DEFINITIONS.counter(
    "ems_kafka_delivered_records_total", "Records that Kafka has acknowledged, by topic", _PRODUCERS, Label.TOPIC
)
DELIVERY_FAILURES: Final = DEFINITIONS.counter(
    "ems_kafka_delivery_failures_total", "Attempts to deliver records that Kafka did not take; they are made again", _PRODUCERS
)
DEAD_LETTERS: Final = DEFINITIONS.counter(
    "ems_dead_letters_total",
    "Records that are in the dead letters, by topic of dead letters and class of the error",
    frozenset({Process.INGRESS, Process.WORKER, Process.SINK, Process.NOTIFIER}),
    Label.TOPIC,
    Label.ERROR_CLASS,
)
LAG: Final = DEFINITIONS.gauge(
    "ems_consumer_lag_records",
    "Offsets from what is durable (worker) or read (sink) to the end of a partition; on topics written in transactions also their markers",
    _READERS,
    Label.TOPIC,
    Label.PARTITION,
)
STALL_SECONDS: Final = DEFINITIONS.gauge(
    "ems_stall_seconds", "Longest time that something is behind and has not moved; at `EMS_STALL_TIMEOUT_S` the process ends", _WATCHED
)

_known_classes: set[str] = set()


class Breaker(Protocol):
    """A circuit breaker, as far as it is shown."""

    @property
    def state(self) -> BreakerState: ...


Headers = Sequence[tuple[str, bytes]]


def show_breaker(name: str, breaker: Breaker) -> None:
    """Set the state of a breaker, as of now."""
    for state in BreakerState:
        BREAKER_STATE.labels(name, state).set(state is breaker.state)


def count_dead_letters(delivered: Mapping[tuple[str, int], Iterable[tuple[object, object, Headers]]]) -> None:
    """Count what of delivered records went to topics of dead letters."""
    for (topic, _), records in delivered.items():
        if topic.endswith(_DLT_SUFFIX):
            for _, _, headers in records:
                DEAD_LETTERS.labels(topic, _error_class(headers)).inc()


def _error_class(headers: Headers) -> str:
    found = next((value.decode(errors="replace") for name, value in headers if name == _ERROR_CLASS_HEADER), "none")
    # Exceptions of libraries are among the classes, and nobody can list them in advance.
    if found not in _known_classes and len(_known_classes) >= _ERROR_CLASSES_MAX:
        return "other"
    _known_classes.add(found)
    return found

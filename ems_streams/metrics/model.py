"""What a metric is here: defined once, typed, documented, and only exported by the processes that have something to say about it.

Recording is for code that works on a batch, a commit or a connection: an increment costs up to a microsecond, too much for every event.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from ems_streams.metrics.quick import QuickHistogram

PREFIX: Final = "ems_"

CounterChild = Counter
"""One series of a counter, which is worth keeping where it is counted often: looking it up costs more than counting."""

LATENCY_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""From a message at once to one of a device that was cut off for half an hour."""
WORK_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Of one piece of work, such as a transaction."""
SIZES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Of what is done at once, in records."""


class Process(StrEnum):
    """What kinds of processes there are; the same names as their commands."""

    INGRESS = "ingress"
    WORKER = "worker"
    SINK = "sink"
    NOTIFIER = "notifier"
    GATEWAY = "gateway"


EVERYWHERE: Final = frozenset(Process)


class Kind(StrEnum):
    """Types of metrics, as Prometheus calls them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Label(StrEnum):
    """Every label that a metric of ours may have; none has more values than a deployment has parts. Devices are never among them."""

    AGENT = "agent"
    BREAKER = "breaker"
    CHANNEL = "channel"
    CHECK = "check"
    ENDPOINT = "endpoint"
    ERROR_CLASS = "error_class"
    EVENT = "event"
    GENERATION = "generation"
    KIND = "kind"
    METHOD = "method"
    OUTCOME = "outcome"
    PARTITION = "partition"
    PYTHON = "python"
    REASON = "reason"
    ROUTE = "route"
    SEVERITY = "severity"
    STATE = "state"
    STATUS = "status"
    STEP = "step"
    TABLE = "table"
    TOPIC = "topic"
    VERSION = "version"


LABEL_VALUES: Final = {
    Label.AGENT: "agents of the worker: `aggregates`, `status`, `notifications`, `sites`, `alarms`, `commands`",
    Label.BREAKER: "what is behind the circuit breaker: `kafka`, `postgres`",
    Label.CHANNEL: "channels of the file that `EMS_CHANNELS_FILE` names",
    Label.CHECK: "named checks of the endpoint",
    Label.ENDPOINT: "`livez`, `readyz`, `startupz`",
    Label.ERROR_CLASS: "`dlt-error-class` of the dead letter; beyond 60 different ones `other`",
    Label.EVENT: "`raised`, `escalated`, `acknowledged`, `cleared`",
    Label.GENERATION: "`0`, `1`, `2`: the youngest objects, those that lived a while, everything",
    Label.KIND: "of messages `telemetry`, `status`, `command_ack`, `other`; of alarms the kinds of conditions, such as `threshold`",
    Label.METHOD: "HTTP methods that the gateway has a route for",
    Label.OUTCOME: "few words, said at each metric",
    Label.PARTITION: "partitions of the topic",
    Label.PYTHON: "version of Python",
    Label.REASON: "few words, said at each metric",
    Label.ROUTE: "routes of the gateway as patterns, such as `/api/v1/devices/{serial}`; `none` for what is no route",
    Label.SEVERITY: "`INFO`, `WARNING`, `CRITICAL`",
    Label.STATE: "of breakers `closed`, `open`, `half-open`: 1 for the one it is, 0 for the others; of alarms and commands few words, said at each metric",
    Label.STATUS: "HTTP status codes",
    Label.STEP: "statuses of commands in small letters, such as `delivered`",
    Label.TABLE: "tables of PostgreSQL that the sink writes",
    Label.TOPIC: "topics of the catalogue",
    Label.VERSION: "version of EMS Streams",
}
"""What bounds the values of each label."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Attributes:
        name: As it is queried; that of a counter ends in `_total`.
        kind: Its type.
        help: What it counts, in one line with what its labels say.
        processes: Who exports it.
        labels: In the order in which values are given.
        instrument: What holds the values.
    """

    name: str
    kind: Kind
    help: str
    processes: frozenset[Process]
    labels: tuple[Label, ...]
    instrument: Collector


class Definitions:
    """A list of metrics that grows while its modules are imported, and not afterwards."""

    def __init__(self) -> None:
        self._by_name: dict[str, Definition] = {}

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Definition | None:
        """The metric of that name."""
        return self._by_name.get(name)

    def counter(self, name: str, text: str, processes: frozenset[Process], *labels: Label) -> Counter:
        """Define something that only grows; its name ends in `_total`."""
        made = Counter(name, text, labels, registry=None)
        self.add(Definition(name, Kind.COUNTER, text, processes, labels, made))
        return made

    def gauge(self, name: str, text: str, processes: frozenset[Process], *labels: Label) -> Gauge:
        """Define something that goes up and down."""
        made = Gauge(name, text, labels, registry=None)
        self.add(Definition(name, Kind.GAUGE, text, processes, labels, made))
        return made

    def histogram(self, name: str, text: str, processes: frozenset[Process], *labels: Label, buckets: Sequence[float]) -> Histogram:
        """Define how something is spread; `buckets` are upper limits."""
        made = Histogram(name, text, labels, registry=None, buckets=buckets)
        self.add(Definition(name, Kind.HISTOGRAM, text, processes, labels, made))
        return made

    def quick_histogram(
        self, name: str, text: str, processes: frozenset[Process], *labels: Label, buckets: Sequence[float]
    ) -> QuickHistogram:
        """As `histogram`, for what is observed with every batch."""
        made = QuickHistogram(name, text, labels, buckets)
        self.add(Definition(name, Kind.HISTOGRAM, text, processes, labels, made))
        return made

    def add(self, definition: Definition) -> None:
        """Define what something else measures; raises `ValueError` for a name that is taken or does not begin with the prefix."""
        if definition.name in self._by_name or not definition.name.startswith(PREFIX):
            raise ValueError(f"metric {definition.name!r}: the name is taken, or does not begin with {PREFIX!r}")
        self._by_name[definition.name] = definition


DEFINITIONS: Final = Definitions()
"""All metrics there are, once `ems_streams.metrics` is imported."""

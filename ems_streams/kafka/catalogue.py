"""Every topic of the system as data: the one place for names, partitions, retention and compression."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

DAY_MS = 86_400_000
DLT_SUFFIX = "-dlt"
DLT_MAX_MESSAGE_BYTES = 5 * 1024 * 1024
"""Payloads of up to 4 MiB are kept whole in the dead letters; the rest is room for headers."""
DLT_RETENTION_DAYS = 30
QUARANTINE_RETENTION_DAYS = 90

CHANGELOG_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A quarter of an hour of a device that sends a hundred messages a second fits in."""

DEVICE_TELEMETRY = "device-telemetry"
DEVICE_STATUS = "device-status"
DEVICE_STATUS_REPORTS = "device-status-reports"
DEVICE_AGGREGATES = "device-aggregates"
SITE_AGGREGATES = "site-aggregates"
DEVICE_NOTIFICATIONS = "device-notifications"
DEVICE_COMMANDS = "device-commands"
DEVICE_COMMAND_ACKS = "device-command-acks"
DEVICE_COMMAND_EVENTS = "device-command-events"
DEVICE_REGISTRY = "device-registry"
DEVICE_TELEMETRY_LATE = "device-telemetry-late"
SITE_PARTS = "site-parts"
INGRESS_HEARTBEATS = "ingress-heartbeats"
MAINTENANCE_WINDOWS = "maintenance-windows"
ALARM_RULES = "alarm-rules"
ALARM_ACKNOWLEDGEMENTS = "alarm-acknowledgements"
ALARM_EVENTS = "alarm-events"
REPLAYS = "replays"
WINDOW_PROMOTIONS = "window-promotions"
REDRIVES = "redrives"
QUARANTINE = "dead-letter-quarantine"

DEVICE_AGGREGATES_TABLE = "device-aggregates"
DEVICE_STATUS_TABLE = "device-status"
NOTIFICATIONS_TABLE = "notifications"
ALARMS_TABLE = "alarms"
SITE_WINDOWS_TABLE = "site-windows"
COMMANDS_TABLE = "commands"
DELIVERIES = "deliveries"
"""What channels have to deliver; no table of Faust's, but its changelog is named like one."""
DELIVERIES_SEGMENT_BYTES = 32 * 1024 * 1024
TRANSACTIONAL_TOPICS = frozenset(
    {DEVICE_STATUS, DEVICE_AGGREGATES, SITE_AGGREGATES, SITE_PARTS, DEVICE_NOTIFICATIONS, DEVICE_COMMAND_EVENTS, DEVICE_TELEMETRY_LATE}
    | {MAINTENANCE_WINDOWS, DEVICE_REGISTRY, ALARM_RULES, ALARM_EVENTS}
)
"""Topics that are written in transactions, or compacted: their offsets have gaps, and their last one may be of no record."""

TABLES = (DEVICE_AGGREGATES_TABLE, DEVICE_STATUS_TABLE, NOTIFICATIONS_TABLE, SITE_WINDOWS_TABLE, ALARMS_TABLE, COMMANDS_TABLE)


class Key(StrEnum):
    """What decides on a record's partition; but for `NONE`, which is of topics with one partition, the count is `EMS_PARTITIONS`."""

    SERIAL_NUMBER = "serial number"
    SITE_ID = "site id"
    CHANNEL = "channel"
    ALL_PARTITIONS = "none, in all partitions"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must exist on the cluster.

    Attributes:
        name: Kafka topic name.
        key: What its records are keyed by.
        partitions: Number of partitions; never changed on a cluster, since that moves keys.
        retention_ms: How long records are kept; `None` for compacted topics.
        compacted: Keep the last record of every key for ever.
        purpose: One line for people.
    """

    name: str
    key: Key
    partitions: int
    purpose: str
    retention_ms: int | None = None
    compacted: bool = False
    extra_config: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, str]:
        """Kafka's topic configuration, as strings."""
        if self.compacted:
            return {"cleanup.policy": "compact", **self.extra_config}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms), **self.extra_config}


_DEVICE_TOPICS: tuple[tuple[str, Key, int, str], ...] = (
    (DEVICE_TELEMETRY, Key.SERIAL_NUMBER, 7, "telemetry of the devices, validated"),
    (DEVICE_STATUS, Key.SERIAL_NUMBER, 30, "status transitions with their true previous status"),
    (DEVICE_STATUS_REPORTS, Key.SERIAL_NUMBER, 7, "what devices say of themselves, before it is a transition"),
    (DEVICE_AGGREGATES, Key.SERIAL_NUMBER, 30, "closed windows per device"),
    (SITE_AGGREGATES, Key.SITE_ID, 30, "closed windows per site"),
    (DEVICE_NOTIFICATIONS, Key.SERIAL_NUMBER, 30, "what people are told"),
    (DEVICE_COMMANDS, Key.SERIAL_NUMBER, 7, "requested commands"),
    (DEVICE_COMMAND_ACKS, Key.SERIAL_NUMBER, 7, "answers of the devices to commands"),
    (DEVICE_COMMAND_EVENTS, Key.SERIAL_NUMBER, 30, "each step of a command's life"),
    (ALARM_EVENTS, Key.SERIAL_NUMBER, 30, "each step in the life of an alarm"),
    (ALARM_ACKNOWLEDGEMENTS, Key.SERIAL_NUMBER, 7, "who has taken note of which alarm"),
)


def dlt_of(topic: str) -> str:
    """Name of the dead letter topic of a topic."""
    return topic + DLT_SUFFIX


def changelog_of(application_id: str, table: str) -> str:
    """Name of a table's changelog topic (Faust's convention)."""
    return f"{application_id}-{table}-changelog"


def leader_topic(application_id: str) -> str:
    """Name of the topic by which Faust elects its leader."""
    return f"{application_id}-__assignor-__leader"


class Catalogue:
    """The topics for one application id and one partition count, in a stable order."""

    def __init__(self, application_id: str, partitions: int) -> None:
        self.application_id = application_id
        self.partitions = partitions
        self._by_name = {topic.name: topic for topic in self._build()}

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Topic:
        return self._by_name[name]

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Topic | None:
        """The topic of that name, if the catalogue has it."""
        return self._by_name.get(name)

    def _build(self) -> Iterator[Topic]:
        with_dead_letters = [*self._of_devices(), *self._between_processes(), *self._known_everywhere()]
        yield from with_dead_letters
        yield Topic(
            DEVICE_TELEMETRY_LATE, Key.SERIAL_NUMBER, self.partitions, "telemetry too late to correct a window", retention_ms=30 * DAY_MS
        )
        yield Topic(REPLAYS, Key.NONE, 1, "the replays that exist, and how far they are", compacted=True)
        yield from self._redrives()
        for topic in with_dead_letters:
            yield self._dead_letters(topic.name)
        for table in TABLES:
            yield self._changelog(table)
        yield self._deliveries()
        yield Topic(leader_topic(self.application_id), Key.NONE, 1, "leader election of the workers", retention_ms=DAY_MS)

    def _of_devices(self) -> Iterator[Topic]:
        for name, key, days, purpose in _DEVICE_TOPICS:
            yield Topic(name, key, self.partitions, purpose, retention_ms=days * DAY_MS)

    def _between_processes(self) -> Iterator[Topic]:
        yield Topic(
            SITE_PARTS, Key.SITE_ID, self.partitions, "windows of devices, on their way into those of their sites", retention_ms=7 * DAY_MS
        )
        yield Topic(
            INGRESS_HEARTBEATS,
            Key.ALL_PARTITIONS,
            self.partitions,
            "that ingress is alive, once in a while in every partition",
            retention_ms=DAY_MS,
            # Of two clocks the one that is behind counts, so that neither can make devices silent.
            extra_config={"message.timestamp.type": "LogAppendTime"},
        )
        yield Topic(
            WINDOW_PROMOTIONS,
            Key.SERIAL_NUMBER,
            self.partitions,
            "windows of replays, on their way into live",
            retention_ms=30 * DAY_MS,
            extra_config={"max.message.bytes": str(DLT_MAX_MESSAGE_BYTES)},
        )

    def _known_everywhere(self) -> Iterator[Topic]:
        """What is known until it is changed: of each device in its partition, of what concerns many in every partition."""
        yield Topic(
            MAINTENANCE_WINDOWS,
            Key.ALL_PARTITIONS,
            self.partitions,
            "when people are not told of devices, each in every partition",
            compacted=True,
        )
        yield Topic(ALARM_RULES, Key.ALL_PARTITIONS, self.partitions, "what raises alarms, each rule in every partition", compacted=True)
        yield Topic(DEVICE_REGISTRY, Key.SERIAL_NUMBER, self.partitions, "the devices that exist", compacted=True)

    def _redrives(self) -> Iterator[Topic]:
        yield Topic(
            REDRIVES,
            Key.NONE,
            1,
            "redrives of dead letters: what was asked for, how far each is, and which letters are done",
            compacted=True,
            # A day more than the letters themselves, those in quarantine too: what is done is known for as long as there is something to know it of.
            extra_config={
                "cleanup.policy": "compact,delete",
                "retention.ms": str((max(DLT_RETENTION_DAYS, QUARANTINE_RETENTION_DAYS) + 1) * DAY_MS),
                "max.message.bytes": str(DLT_MAX_MESSAGE_BYTES),
            },
        )
        yield Topic(
            QUARANTINE,
            Key.SERIAL_NUMBER,
            self.partitions,
            "dead letters that were redriven too often, as they were",
            retention_ms=QUARANTINE_RETENTION_DAYS * DAY_MS,
            extra_config={"max.message.bytes": str(DLT_MAX_MESSAGE_BYTES)},
        )

    def _dead_letters(self, name: str) -> Topic:
        return Topic(
            dlt_of(name),
            Key.SERIAL_NUMBER,
            self.partitions,
            f"records of {name} that could not be processed, untouched",
            retention_ms=DLT_RETENTION_DAYS * DAY_MS,
            extra_config={"max.message.bytes": str(DLT_MAX_MESSAGE_BYTES)},
        )

    def _changelog(self, table: str) -> Topic:
        return Topic(
            changelog_of(self.application_id, table),
            Key.SERIAL_NUMBER,
            self.partitions,
            f"changelog of the table {table}",
            compacted=True,
            extra_config={"max.message.bytes": str(CHANGELOG_MAX_MESSAGE_BYTES)},
        )

    def _deliveries(self) -> Topic:
        return Topic(
            changelog_of(self.application_id, DELIVERIES),
            Key.CHANNEL,
            self.partitions,
            "what each channel has to deliver, and how far it is; each channel in one partition",
            compacted=True,
            # All of it is read whenever a channel changes hands, so that little may lie about before it is compacted.
            extra_config={"max.message.bytes": str(DLT_MAX_MESSAGE_BYTES), "segment.bytes": str(DELIVERIES_SEGMENT_BYTES)},
        )

"""Who may do what on Kafka: the least rights of every process, from the tables that say what each of them reads and writes.

Rights imply others at Kafka: READ and WRITE imply DESCRIBE, ALTER_CONFIGS implies DESCRIBE_CONFIGS. An idempotent producer needs no right on the cluster
since Kafka 2.8. How it is known which of them are needed: docs/howto/security-kafka.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from ems_streams.errors import DependencyError
from ems_streams.kafka.acls import CLUSTER_NAME, Acl, Resource
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_EVENTS,
    ALARM_RULES,
    DELIVERIES,
    DEVICE_AGGREGATES,
    DEVICE_COMMAND_EVENTS,
    DEVICE_COMMANDS,
    DEVICE_NOTIFICATIONS,
    DEVICE_REGISTRY,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TELEMETRY_LATE,
    DLT_SUFFIX,
    INGRESS_HEARTBEATS,
    MAINTENANCE_WINDOWS,
    QUARANTINE,
    REDRIVES,
    REPLAYS,
    SITE_AGGREGATES,
    SITE_PARTS,
    TABLES,
    WINDOW_PROMOTIONS,
    Catalogue,
    changelog_of,
    dlt_of,
)
from ems_streams.kafka.device_topics import PUT_ASIDE, TOPICS_OF_A_DEVICE
from ems_streams.kafka.own_rights import check_own_rights
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_AWAY_PAUSE_S: Final = 0.5
WORKER_OUTPUTS: Final = (
    *(DEVICE_AGGREGATES, SITE_PARTS, SITE_AGGREGATES, DEVICE_STATUS, DEVICE_NOTIFICATIONS),
    *(DEVICE_COMMAND_EVENTS, ALARM_EVENTS, DEVICE_TELEMETRY_LATE),
)
"""What agents publish, beside dead letters and changelogs."""

_IMPLIED_BY: Final = {"DESCRIBE": ("READ", "WRITE", "DELETE", "ALTER"), "DESCRIBE_CONFIGS": ("ALTER_CONFIGS",)}


class Role(StrEnum):
    """Who speaks to Kafka; the principal of a role is the prefix and its name."""

    INGRESS = "ingress"
    WORKER = "worker"
    SINK = "sink"
    GATEWAY = "gateway"
    NOTIFIER = "notifier"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Right:
    """One right of a role, and what it is for.

    Attributes:
        resource: Kind of what it is on.
        name: Name, or its beginning.
        operation: As Kafka names it.
        why: For people.
        prefixed: Whether the name is a beginning.
    """

    resource: Resource
    name: str
    operation: str
    why: str
    prefixed: bool = False


def acls_of(settings: Settings, prefix: str | None = None) -> list[Acl]:
    """Every ACL of every role, for the application id of the settings; `prefix` instead of EMS_KAFKA_PRINCIPAL_PREFIX."""
    return [
        Acl(principal_of(role, settings, prefix), right.resource, right.name, right.prefixed, right.operation)
        for role in Role
        for right in rights_of(role, settings)
    ]


def principal_of(role: Role, settings: Settings, prefix: str | None = None) -> str:
    """As Kafka names it."""
    return f"User:{settings.kafka_principal_prefix if prefix is None else prefix}{role}"


def rights_of(role: Role, settings: Settings) -> list[Right]:
    """The rights of a role, each once."""
    catalogue = Catalogue(settings.application_id, settings.partitions)
    found: dict[tuple[Resource, str, bool, str], Right] = {}
    for right in _RIGHTS[role](settings.application_id, catalogue):
        found.setdefault((right.resource, right.name, right.prefixed, right.operation), right)
    rights = list(found.values())
    return [each for each in rights if not any(_implies(other, each) for other in rights if other is not each)]


def _implies(one: Right, other: Right) -> bool:
    """Whether Kafka allows the other by the one: what is on a beginning is on all that begins so, and who may read may describe."""
    if one.resource is not other.resource or (
        one.operation != other.operation and one.operation not in _IMPLIED_BY.get(other.operation, ())
    ):
        return False
    return other.name.startswith(one.name) if one.prefixed else not other.prefixed and one.name == other.name


def topics_of(role: Role, settings: Settings) -> dict[str, set[str]]:
    """Topics that a role uses by their full names, with the operations that it needs on each."""
    found: dict[str, set[str]] = {}
    for right in rights_of(role, settings):
        if right.resource is Resource.TOPIC and not right.prefixed:
            found.setdefault(right.name, set()).add(right.operation)
    return found


def groups_of(role: Role, settings: Settings) -> list[str]:
    """Groups that a role is a member of, by their full names."""
    return [
        each.name
        for each in rights_of(role, settings)
        if each.resource is Resource.GROUP and not each.prefixed and each.operation == "READ"
    ]


async def check_rights(role: Role, settings: Settings) -> None:
    """Raise `TopicsMissingError` or `RightsMissingError` unless a process of this role finds what it needs; or `DependencyError`."""
    await check_own_rights(settings, role, topics_of(role, settings), groups_of(role, settings))


async def wait_for_rights(role: Role, settings: Settings, tell: Callable[[str], Awaitable[None]] | None = None) -> None:
    """As `check_rights`, however long Kafka takes to answer; why it does not is logged, and told, when that is new."""
    away = ""
    while True:
        try:
            await check_rights(role, settings)
            return
        except DependencyError as error:
            if away != str(error):
                away = str(error)
                log.warning("kafka_away", error=away)
                if tell is not None:
                    await tell(away)
        await asyncio.sleep(_AWAY_PAUSE_S)


def _on(resource: Resource, operation: str, why: str, names: Iterable[str], *, prefixed: bool = False) -> Iterator[Right]:
    return (Right(resource, name, operation, why, prefixed) for name in names)


def _topics(operation: str, why: str, *names: str) -> Iterator[Right]:
    return _on(Resource.TOPIC, operation, why, names)


def _group(why: str, *names: str, prefixed: bool = False, operation: str = "READ") -> Iterator[Right]:
    return _on(Resource.GROUP, operation, why, names, prefixed=prefixed)


def _transactions(why: str, *beginnings: str) -> Iterator[Right]:
    return _on(Resource.TRANSACTIONAL_ID, "WRITE", why, beginnings, prefixed=True)


def _cluster(why: str, *operations: str) -> Iterator[Right]:
    return (Right(Resource.CLUSTER, CLUSTER_NAME, operation, why) for operation in operations)


def _ingress(_: str, __: Catalogue) -> Iterator[Right]:
    from agents.ingress import TOPICS
    from ems_streams.kafka.pulse import TOLD

    yield from _topics("WRITE", "what devices publish, devices that are new, and dead letters", *TOPICS)
    yield from _topics("WRITE", "that it is alive", INGRESS_HEARTBEATS)
    yield from _topics("READ", "which devices there are", DEVICE_REGISTRY)
    yield from _topics("READ", "where records end, for its heartbeats", *TOLD)


def _worker(application_id: str, _: Catalogue) -> Iterator[Right]:
    from ems_streams.app import AGENT_NAMES, SOURCE_TOPICS

    changelogs = [changelog_of(application_id, table) for table in TABLES]
    yield from _topics("READ", "what agents fold", *sorted(SOURCE_TOPICS))
    yield from _topics("WRITE", "what agents publish", *WORKER_OUTPUTS)
    yield from _topics("WRITE", "what agents cannot process", *sorted(map(dlt_of, SOURCE_TOPICS)))
    yield from _topics("READ", "recovery of tables", *changelogs)
    yield from _topics("WRITE", "what is durable of tables", *changelogs)
    yield from _group("workers share the partitions", application_id)
    yield from _transactions("one for each partition of a table", *(f"{application_id}-{name}-" for name in AGENT_NAMES))


def _sink(application_id: str, _: Catalogue) -> Iterator[Right]:
    from ems_streams.postgres.rows import TOPICS
    from ems_streams.postgres.sink import WRITTEN_TOPICS

    yield from _topics("READ", "what goes into PostgreSQL", *TOPICS)
    yield from _topics("WRITE", "what cannot be written there", *WRITTEN_TOPICS)
    yield from _group("sinks share the partitions", f"{application_id}-sink")


def _notifier(application_id: str, _: Catalogue) -> Iterator[Right]:
    from ems_streams.channels.runner import transactional_id
    from ems_streams.channels.source import group_of

    deliveries = changelog_of(application_id, DELIVERIES)
    yield from _topics("READ", "what people are told", DEVICE_NOTIFICATIONS)
    yield from _topics("WRITE", "what cannot be delivered", dlt_of(DEVICE_NOTIFICATIONS))
    yield from _topics("READ", "what each channel has to deliver", deliveries)
    yield from _topics("WRITE", "what each channel has to deliver", deliveries)
    yield from _group("notifiers share the channels", f"{application_id}-notifier")
    yield from _group("how far each channel is, for lag figures", group_of(application_id, ""), prefixed=True)
    yield from _transactions("one for each channel", transactional_id(application_id, ""))


def _gateway(application_id: str, catalogue: Catalogue) -> Iterator[Right]:
    yield from _topics("READ", "the feed of notifications", DEVICE_NOTIFICATIONS)
    yield from _topics("READ", "which devices there are", DEVICE_REGISTRY)
    yield from _topics("READ", "explain: the last records of a device", *(topic for topic in TOPICS_OF_A_DEVICE if topic not in PUT_ASIDE))
    yield from _topics("WRITE", "commands that people ask for", DEVICE_COMMANDS)
    yield from _topics("WRITE", "alarms that people take note of", ALARM_ACKNOWLEDGEMENTS)
    yield from _maintenance(application_id)
    yield from _dead_letters(application_id, catalogue)


def _maintenance(application_id: str) -> Iterator[Right]:
    yield from _topics("READ", "maintenance windows", MAINTENANCE_WINDOWS)
    yield from _topics("WRITE", "maintenance windows", MAINTENANCE_WINDOWS)
    yield from _transactions("maintenance windows", f"{application_id}-maintenance-")


def _dead_letters(application_id: str, catalogue: Catalogue) -> Iterator[Right]:
    """To see dead letters, and to put them back onto the topics that they came from."""
    origins = [topic for topic in catalogue if dlt_of(topic.name) in catalogue and topic.name != INGRESS_HEARTBEATS]
    letters = [topic.name for topic in catalogue if topic.name.endswith(DLT_SUFFIX)]
    yield from _topics("READ", "dead letters", *letters, QUARANTINE, REDRIVES)
    yield from _topics("READ", "whether a dead letter has been superseded", *(topic.name for topic in origins if topic.compacted))
    yield from _topics("WRITE", "dead letters that are redriven", *(topic.name for topic in origins))
    yield from _topics("WRITE", "letters of MQTT that fail again", *(dlt_of(topic) for topic in _mqtt_targets()))
    yield from _topics("WRITE", "how far redrives are, and what is put aside", REDRIVES, QUARANTINE)
    yield from _transactions("redrives", f"{application_id}-redrive-")


def _mqtt_targets() -> list[str]:
    from ems_streams.kafka.ingress_routes import ROUTES

    return [topic for topic, _ in ROUTES.values()]


def _operator(application_id: str, catalogue: Catalogue) -> Iterator[Right]:
    replays = f"{application_id}-replay-"
    yield from _topics("READ", "topics tail, and whatever else people look at", *(topic.name for topic in catalogue))
    yield from _topics("DESCRIBE_CONFIGS", "topics list and describe", *(topic.name for topic in catalogue))
    yield from _group("topics tail", "ems-streams-tail", operation="DESCRIBE")
    yield from _group("channels status", f"{application_id}-notifier", operation="DESCRIBE")
    yield from _maintenance(application_id)
    yield from _dead_letters(application_id, catalogue)
    yield from _topics("DELETE", "dlt purge", *(topic.name for topic in catalogue if topic.name.endswith(DLT_SUFFIX)), QUARANTINE)
    yield from _topics("WRITE", "rules apply", ALARM_RULES)
    yield from _transactions("rules apply", f"{application_id}-alarm-rules-")
    yield from _topics("WRITE", "devices import and backfill", DEVICE_REGISTRY, DEVICE_TELEMETRY)
    yield from _topics("WRITE", "replays and backfill", REPLAYS, WINDOW_PROMOTIONS)
    for operation in ("CREATE", "DELETE", "READ", "WRITE"):
        yield from _on(Resource.TOPIC, operation, "topics of replays", [replays], prefixed=True)
    yield from _transactions("replays", replays)


def _admin(application_id: str, catalogue: Catalogue) -> Iterator[Right]:
    from ems_streams.app import SOURCE_TOPICS
    from ems_streams.postgres.rows import TOPICS

    everything = [topic.name for topic in catalogue]
    for operation, why in (("CREATE", "topics apply"), ("ALTER_CONFIGS", "topics apply"), ("DESCRIBE", "topics plan, and doctor")):
        yield from _topics(operation, why, *everything)
    yield from _on(Resource.TOPIC, "DESCRIBE", "topics that are not in the catalogue", [f"{application_id}-"], prefixed=True)
    yield from _topics("READ", "doctor: how old what waits is", *sorted({*SOURCE_TOPICS, *TOPICS}))
    yield from _topics("READ", "doctor: how channels do", changelog_of(application_id, DELIVERIES))
    yield from _group("doctor: who is a member, and how far", application_id, operation="DESCRIBE")
    yield from _group("doctor: who is a member, and how far", f"{application_id}-", prefixed=True, operation="DESCRIBE")
    yield from _cluster("acls plan and apply, passwords of users", "DESCRIBE", "ALTER")


_RIGHTS: Final[dict[Role, Callable[[str, Catalogue], Iterator[Right]]]] = {
    Role.INGRESS: _ingress,
    Role.WORKER: _worker,
    Role.SINK: _sink,
    Role.GATEWAY: _gateway,
    Role.NOTIFIER: _notifier,
    Role.OPERATOR: _operator,
    Role.ADMIN: _admin,
}

"""Whether Kafka allows us what we are about to do, asked before we begin: a process that lacks a right says which, instead of failing by and by."""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from ems_streams.errors import EmsError, TopicsForbiddenError, TopicsMissingError
from ems_streams.kafka.admin import CONNECT_TIMEOUT_S, RefusedError, client_config, find_topics, result_of
from ems_streams.settings import Settings


class RightsMissingError(EmsError):
    """Kafka does not allow us what we need."""


@dataclass(slots=True)
class OwnRights:
    """What of the wanted is not there.

    Attributes:
        missing: Topics that do not exist.
        lacking: Rights that we do not have, as operation and what it is on.
    """

    missing: list[str] = field(default_factory=list)
    lacking: list[tuple[str, str]] = field(default_factory=list)

    def by_operation(self) -> dict[str, list[str]]:
        """What is lacking: the names that each operation is not allowed on, in order."""
        found: dict[str, list[str]] = {}
        for operation, name in sorted(self.lacking):
            found.setdefault(operation, []).append(name)
        return found


def who(settings: Settings) -> str:
    """Who we are to Kafka, for people."""
    if settings.kafka_with_login:
        return f"user {settings.kafka_username}"
    return f"the owner of {settings.kafka_cert_file}" if settings.kafka_cert_file is not None else "somebody without a name"


async def own_rights(settings: Settings, topics: Mapping[str, Iterable[str]], groups: Iterable[str] = ()) -> OwnRights:
    """Which of these operations on topics, and memberships in groups, Kafka does not allow; transactional ids it does not say.

    Raises `DependencyError` when Kafka does not answer. Where Kafka does not say what it allows nothing is lacking.
    """
    return await asyncio.to_thread(_look, settings, topics, list(groups))


async def check_own_rights(settings: Settings, needed_by: str, topics: Mapping[str, Iterable[str]], groups: Iterable[str] = ()) -> None:
    """Raise `TopicsMissingError` or `RightsMissingError` unless all is there; or `DependencyError`."""
    found = await own_rights(settings, topics, groups)
    if found.lacking:
        said = "; ".join(f"{operation} on {', '.join(names)}" for operation, names in found.by_operation().items())
        raise RightsMissingError(
            f"Kafka does not allow {who(settings)} what {needed_by} needs: {said}; log in as the principal of {needed_by}, or give it its rights "
            "with `ems-streams acls apply`"
        )
    if found.missing:
        raise TopicsMissingError(found.missing)


async def absence_of(settings: Settings, names: Iterable[str]) -> TopicsMissingError:
    """Why topics are not among those that Kafka shows us: that they are not there, or that we may not see them."""
    try:
        found = await own_rights(settings, dict.fromkeys(names, ("DESCRIBE",)))
    except EmsError:
        return TopicsMissingError(list(names))
    forbidden = sorted({name.removeprefix("topic ") for _, name in found.lacking})
    return TopicsForbiddenError(forbidden, who(settings)) if forbidden else TopicsMissingError(list(names))


def _look(settings: Settings, topics: Mapping[str, Iterable[str]], groups: list[str]) -> OwnRights:
    client = AdminClient(client_config(settings))
    # First of all, so that a Kafka that is away is noticed, and said, as everywhere.
    find_topics(client, settings)
    found = OwnRights()
    if topics:
        described = client.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=CONNECT_TIMEOUT_S
        )
        for name, future in described.items():
            _of_topic(found, name, topics[name], future, settings)
    for group in groups:
        if _refuses_group(client, group):
            found.lacking.append(("READ", f"group {group}"))
    return found


def _of_topic(found: OwnRights, name: str, wanted: Iterable[str], future: "Future[TopicDescription]", settings: Settings) -> None:
    try:
        operations = result_of(future, f"describe topic {name}", settings).authorized_operations
    except RefusedError as error:
        if error.code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            found.missing.append(name)
        elif error.code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            found.lacking += [(operation, f"topic {name}") for operation in sorted(wanted)]
        return
    if operations is not None:
        allowed = {each.name for each in operations}
        found.lacking += [(operation, f"topic {name}") for operation in sorted(wanted) if operation not in allowed]


def _refuses_group(client: AdminClient, group: str) -> bool:
    """Whether we may not be in it; one whose coordinator does not answer yet, as before the first group ever, refuses nothing."""
    try:
        client.describe_consumer_groups([group], request_timeout=CONNECT_TIMEOUT_S)[group].result(CONNECT_TIMEOUT_S + 1)
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED)
    except TimeoutError:
        return False
    return False

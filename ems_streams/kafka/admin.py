"""The topics of a Kafka cluster: compare with the catalogue, create and alter, describe.

Every function opens its own client and has a deadline; the client is synchronous, so its calls run in threads. A cluster that
does not answer is a `DependencyError` after about `CONNECT_TIMEOUT_S`; one that answers with a refusal is an `EmsError`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)

from ems_streams.errors import EmsError
from ems_streams.kafka.catalogue import Catalogue, Topic
from ems_streams.kafka.refusals import not_allowed, raise_if_refused, unreachable
from ems_streams.kafka.security import librdkafka_security
from ems_streams.kafka.settling import PAUSE_S, settles
from ems_streams.kafka.topic_plan import Action, TopicPlan, TopicState, UnknownTopic, plan, unknown_topics
from ems_streams.settings import Settings

CONNECT_TIMEOUT_S = 8.0
REQUEST_TIMEOUT_S = 20.0
_UNREACHABLE = frozenset(
    {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError.REQUEST_TIMED_OUT}
    | {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED}
)
_NOT_ALLOWED = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
    | {KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
)
_MOVING = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART})

T = TypeVar("T")

# The client prints its connection troubles to stderr unless it is given a logger; what matters of them comes back as an error.
_SILENT = logging.getLogger("ems_streams.librdkafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition: brokers by their ids, first and next offset (`None` when it has no leader to ask)."""

    partition: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    begin_offset: int | None
    end_offset: int | None


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as it is; `config` are the values in effect, `overrides` those set on the topic itself, `topic` its entry in the catalogue."""

    name: str
    partitions: tuple[PartitionDescription, ...]
    config: Mapping[str, str]
    overrides: Mapping[str, str]
    topic: Topic | None

    @property
    def records(self) -> int:
        """Distance of first and next offset over all partitions: an upper bound of what a reader gets."""
        return sum((each.end_offset or 0) - (each.begin_offset or 0) for each in self.partitions)


def catalogue_of(settings: Settings) -> Catalogue:
    """The catalogue with the application id and partition count of the settings."""
    return Catalogue(settings.application_id, settings.partitions)


def client_config(settings: Settings) -> dict[str, Any]:
    """Configuration that every confluent-kafka client of ours starts from; quiet on stderr."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "ems-streams",
        "logger": _SILENT,
        **librdkafka_security(settings),
    }


async def plan_topics(settings: Settings, *, allow_record_loss: bool = False) -> list[TopicPlan]:
    """What `apply_topics` would do; changes nothing."""
    return await asyncio.to_thread(_plan, AdminClient(client_config(settings)), settings, allow_record_loss)


async def apply_topics(settings: Settings, *, allow_record_loss: bool = False) -> list[TopicPlan]:
    """Create what is missing and alter what differs; safe to run again, and by several at once.

    Deletes nothing, changes no partition count, and alters nothing by which Kafka would delete records, unless
    `allow_record_loss`. When it returns, the changes are in effect and every partition has a leader. Returns the plan that was carried out;
    its refusals are still to be dealt with by the caller.
    """
    return await asyncio.to_thread(_apply, settings, allow_record_loss)


async def find_unknown_topics(settings: Settings) -> list[UnknownTopic]:
    """Topics of the cluster that begin like ours and are not in the catalogue."""
    names = await asyncio.to_thread(lambda: find_topics(AdminClient(client_config(settings)), settings).keys())
    return unknown_topics(names, catalogue_of(settings))


async def missing_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Those of `names` that the cluster does not have, sorted."""
    present = await asyncio.to_thread(lambda: find_topics(AdminClient(client_config(settings)), settings).keys())
    return sorted(set(names) - present)


async def list_topics(settings: Settings) -> list[TopicDescription]:
    """Every topic of the cluster except Kafka's own, sorted by name."""
    return await asyncio.to_thread(_describe, settings, None)


async def describe(settings: Settings, name: str) -> TopicDescription:
    """One topic; `EmsError` when the cluster does not have it."""
    return (await asyncio.to_thread(_describe, settings, name))[0]


def _plan(client: AdminClient, settings: Settings, allow_record_loss: bool) -> list[TopicPlan]:
    return _plan_of(find_topics(client, settings), client, settings, allow_record_loss)


def _plan_of(metadata: Mapping[str, TopicMetadata], client: AdminClient, settings: Settings, allow_record_loss: bool) -> list[TopicPlan]:
    catalogue = catalogue_of(settings)
    present = {topic.name: metadata[topic.name] for topic in catalogue if topic.name in metadata}
    configs = _configs(client, present, settings)
    states = {
        name: TopicState(
            name,
            partitions=len(topic.partitions),
            replication=min(len(partition.replicas) for partition in topic.partitions.values()),
            config={entry.name: str(entry.value) for entry in configs[name]},
        )
        for name, topic in present.items()
    }
    return plan(catalogue, states, settings.replication_factor, allow_record_loss=allow_record_loss)


def _apply(settings: Settings, allow_record_loss: bool) -> list[TopicPlan]:
    client = AdminClient(client_config(settings))
    plans = _plan(client, settings, allow_record_loss)
    _create([each.topic for each in plans if each.action is Action.CREATE], client, settings)
    for each in plans:
        if each.action is Action.ALTER:
            _alter(each, client, settings)
    _wait_until_visible(client, settings, allow_record_loss)
    return plans


def _create(topics: list[Topic], client: AdminClient, settings: Settings) -> None:
    if not topics:
        return
    new = [NewTopic(topic.name, topic.partitions, settings.replication_factor, config=topic.config) for topic in topics]
    for name, future in client.create_topics(new, operation_timeout=REQUEST_TIMEOUT_S, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            result_of(future, f"create topic {name}", settings)
        except RefusedError as error:
            if error.code == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if error.code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise EmsError(f"{error} (EMS_REPLICATION_FACTOR={settings.replication_factor})") from None
            raise


def _wait_until_visible(client: AdminClient, settings: Settings, allow_record_loss: bool) -> None:
    # The controller has agreed; the broker that is asked next learns of it a moment later.
    waiting: list[str] = []

    def in_effect() -> bool:
        metadata = find_topics(client, settings)
        plans = _plan_of(metadata, client, settings, allow_record_loss)
        waiting[:] = [each.name for each in plans if each.action is Action.CREATE or each.changes]
        waiting.extend(topic.name for topic in catalogue_of(settings) if topic.name in metadata and not _has_leaders(metadata[topic.name]))
        return not waiting

    if not settles(in_effect, REQUEST_TIMEOUT_S):
        raise EmsError(f"applied, but not in effect after {REQUEST_TIMEOUT_S:.0f} s: {', '.join(waiting)}")


def _has_leaders(topic: TopicMetadata) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())


def _alter(each: TopicPlan, client: AdminClient, settings: Settings) -> None:
    entries = [ConfigEntry(change.setting, change.wanted, incremental_operation=AlterConfigOpType.SET) for change in each.changes]
    resource = ConfigResource(ResourceType.TOPIC, each.name, incremental_configs=entries)
    altered = client.incremental_alter_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
    result_of(altered[resource], f"alter topic {each.name}", settings)


def _describe(settings: Settings, name: str | None) -> list[TopicDescription]:
    client = AdminClient(client_config(settings))
    metadata = {topic: entry for topic, entry in find_topics(client, settings).items() if name in (None, topic)}
    if name is not None and not metadata:
        raise EmsError(f"topic {name} does not exist; `ems-streams topics list` shows those that do")
    catalogue = catalogue_of(settings)
    offsets = _offsets(client, metadata.values(), settings)
    configs = _configs(client, metadata, settings)
    return [
        TopicDescription(
            topic,
            tuple(
                PartitionDescription(
                    number, entry.leader, tuple(entry.replicas), tuple(entry.isrs), *offsets.get((topic, number), (None, None))
                )
                for number, entry in sorted(metadata[topic].partitions.items())
            ),
            {entry.name: str(entry.value) for entry in configs[topic]},
            {entry.name: str(entry.value) for entry in configs[topic] if _set_on_topic(entry)},
            catalogue.get(topic),
        )
        for topic in sorted(metadata)
    ]


def _set_on_topic(entry: ConfigEntry) -> bool:
    return entry.source in {ConfigSource.DYNAMIC_TOPIC_CONFIG, ConfigSource.DYNAMIC_TOPIC_CONFIG.value}


def _offsets(client: AdminClient, topics: Iterable[TopicMetadata], settings: Settings) -> dict[tuple[str, int], tuple[int, int]]:
    partitions = [
        TopicPartition(str(topic.topic), number) for topic in topics for number, entry in topic.partitions.items() if entry.leader >= 0
    ]
    if not partitions:
        return {}

    def ask(spec: OffsetSpec) -> dict[tuple[str, int], int]:
        futures = client.list_offsets(dict.fromkeys(partitions, spec), request_timeout=REQUEST_TIMEOUT_S)
        return {(each.topic, each.partition): result_of(future, "read offsets", settings).offset for each, future in futures.items()}

    begin = answer_of(lambda: ask(OffsetSpec.earliest()), "read offsets", settings)  # type: ignore[no-untyped-call]
    end = answer_of(lambda: ask(OffsetSpec.latest()), "read offsets", settings)  # type: ignore[no-untyped-call]
    return {key: (begin[key], end[key]) for key in begin}


def find_topics(client: AdminClient, settings: Settings) -> dict[str, TopicMetadata]:
    """All topics that we may see, but for Kafka's own; raises `DependencyError` when Kafka does not answer."""
    # The client would try again and again for as long as it may, and then say no more than that it got no answer.
    raise_if_refused(settings)
    topics = _call(lambda: client.list_topics(timeout=CONNECT_TIMEOUT_S), "list topics", settings).topics
    return {name: topic for name, topic in topics.items() if not name.startswith("__")}


def _configs(client: AdminClient, names: Iterable[str], settings: Settings) -> dict[str, list[ConfigEntry]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    futures = client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    return {
        resource.name: list(result_of(future, f"describe topic {resource.name}", settings).values()) for resource, future in futures.items()
    }


class RefusedError(EmsError):
    """Kafka's answer is no; `code` is Kafka's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def result_of(future: "Future[T]", what: str, settings: Settings) -> T:
    """What a call of an admin client gives; `what` says what it was for. Raises `DependencyError` or `RefusedError`."""
    return _call(lambda: future.result(timeout=REQUEST_TIMEOUT_S + 1), what, settings)


def _call(call: Callable[[], T], what: str, settings: Settings) -> T:
    try:
        return call()
    except KafkaException as error:
        problem = error.args[0]
        if problem.code() in _UNREACHABLE:
            raise unreachable(settings) from None
        said = not_allowed(what) if problem.code() in _NOT_ALLOWED else f"cannot {what}: {problem.str()}"
        raise RefusedError(said, problem.code()) from None
    except TimeoutError:
        raise unreachable(settings) from None


def answer_of(call: Callable[[], T], what: str, settings: Settings) -> T:
    """What Kafka answers about partitions; asked again while their leaders move, and waits for that, so not on an event loop.

    Raises `DependencyError` when there is no answer, and `EmsError` when the answer is a refusal.
    """
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return _call(call, what, settings)
        except RefusedError as error:
            # Between the metadata and the question, or while a new topic settles, the leader may be another.
            if error.code not in _MOVING or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)

"""Topics that come and go with what they are for, such as those of a replay; the permanent ones are the catalogue's (`admin`)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from ems_streams.errors import EmsError
from ems_streams.kafka.admin import CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, client_config
from ems_streams.kafka.catalogue import Topic
from ems_streams.kafka.refusals import unreachable
from ems_streams.kafka.settling import settles
from ems_streams.settings import Settings


async def create_topics(settings: Settings, topics: Sequence[Topic]) -> None:
    """Make topics that are not there yet; returns when each partition has a leader. Raises `DependencyError` or `EmsError`."""
    await asyncio.to_thread(_create, settings, topics)


async def delete_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Remove those of `names` that are there, with all that is in them; returns which, when they are gone."""
    return await asyncio.to_thread(_delete, settings, sorted(names))


def _create(settings: Settings, topics: Sequence[Topic]) -> None:
    client = AdminClient(client_config(settings))
    _present(client, settings)  # so that a Kafka that is away is noticed at once
    new = [NewTopic(each.name, each.partitions, settings.replication_factor, config=each.config) for each in topics]
    for name, future in client.create_topics(new, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result(REQUEST_TIMEOUT_S + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise EmsError(f"cannot create topic {name}: {error.args[0].str()}") from None
    wanted = {each.name: each.partitions for each in topics}
    _wait(lambda: wanted.items() <= _present(client, settings).items(), f"topics of {topics[0].name} not there")


def _delete(settings: Settings, names: list[str]) -> list[str]:
    client = AdminClient(client_config(settings))
    present = [name for name in names if name in _present(client, settings)]
    if not present:
        return []
    for name, future in client.delete_topics(present, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result(REQUEST_TIMEOUT_S + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise EmsError(f"cannot delete topic {name}: {error.args[0].str()}") from None
    _wait(lambda: not _present(client, settings).keys() & set(present), f"topics still there: {', '.join(present)}")
    return present


def _present(client: AdminClient, settings: Settings) -> dict[str, int]:
    """Topics of the cluster, with the number of their partitions that have a leader."""
    try:
        topics = client.list_topics(timeout=CONNECT_TIMEOUT_S).topics
    except KafkaException:
        raise unreachable(settings) from None
    return {name: sum(each.leader >= 0 for each in topic.partitions.values()) for name, topic in topics.items()}


def _wait(done: Callable[[], bool], complaint: str) -> None:
    if not settles(done, REQUEST_TIMEOUT_S):
        raise EmsError(f"{complaint} after {REQUEST_TIMEOUT_S:.0f} s")

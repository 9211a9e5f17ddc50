"""Why Kafka lets us not in, or not do something, in words; refusals of the real broker are in tests/integration/security."""

import asyncio

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
)

from ems_streams.errors import DependencyError
from ems_streams.kafka.refusals import KafkaRefusedError, refusal_of, told, unreachable, why_unreachable
from ems_streams.settings import Settings


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            TopicAuthorizationFailedError("device-telemetry"),
            "Kafka does not allow us to use the topic device-telemetry; `ems-streams acls plan`",
        ),
        (GroupAuthorizationFailedError("app-sink"), "Kafka does not allow us to be in the consumer group app-sink; "),
        (TransactionalIdAuthorizationFailed(), "Kafka does not allow us to write with the transactional id; "),
        (ClusterAuthorizationFailedError(), "Kafka does not allow us to do that with the cluster; "),
    ],
)
def test_a_right_that_is_missing_is_told_with_what_to_do(error: Exception, said: str) -> None:
    assert told(error).startswith(said)
    wrapped = RuntimeError("something else")
    wrapped.__cause__ = error
    assert told(wrapped).startswith(said)


def test_any_other_error_is_told_as_it_is() -> None:
    assert told(UnknownTopicOrPartitionError("t")) == repr(UnknownTopicOrPartitionError("t"))


def test_a_kafka_that_is_not_there_is_not_taken_for_one_that_refuses(unused_tcp_port: int) -> None:
    settings = Settings.load(kafka_bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")

    error = unreachable(settings)

    assert type(error) is DependencyError
    assert str(error) == f"Kafka does not answer at 127.0.0.1:{unused_tcp_port} (EMS_KAFKA_BOOTSTRAP_SERVERS)"
    assert refusal_of(settings) is None


async def test_a_listener_that_closes_at_once_wants_another_protocol_until_it_is_gone() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings.load(kafka_bootstrap_servers=f"127.0.0.1:{port}")

    error = await why_unreachable(settings)
    assert isinstance(error, KafkaRefusedError)
    assert "wants another protocol than EMS_KAFKA_SECURITY_PROTOCOL=PLAINTEXT" in str(error)

    server.close()
    await server.wait_closed()
    assert type(await why_unreachable(settings)) is DependencyError

"""What is made of Kafka's answers about our rights, in the client's own objects; the broker itself gives them in tests/integration/security."""

from collections.abc import Collection
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid
from confluent_kafka.admin import AclOperation, TopicDescription

from ems_streams.errors import DependencyError
from ems_streams.kafka.own_rights import OwnRights, _of_topic
from ems_streams.settings import Settings


def allowed(operations: Collection[str]) -> "Future[TopicDescription]":
    answer: Future[TopicDescription] = Future()
    answer.set_result(TopicDescription("t", Uuid(0, 1), False, [], [AclOperation[each] for each in operations]))
    return answer


def refused(code: int) -> "Future[TopicDescription]":
    answer: Future[TopicDescription] = Future()
    answer.set_exception(KafkaException(KafkaError(code)))
    return answer


def of_topic(answer: "Future[TopicDescription]", settings: Settings | None = None) -> OwnRights:
    found = OwnRights()
    _of_topic(found, "t", {"READ", "WRITE"}, answer, settings or Settings())
    return found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (allowed(["READ", "WRITE", "DESCRIBE"]), OwnRights()),
        (allowed(["READ", "DESCRIBE"]), OwnRights(lacking=[("WRITE", "topic t")])),
        (allowed(["DESCRIBE"]), OwnRights(lacking=[("READ", "topic t"), ("WRITE", "topic t")])),
        (refused(KafkaError.TOPIC_AUTHORIZATION_FAILED), OwnRights(lacking=[("READ", "topic t"), ("WRITE", "topic t")])),
        (refused(KafkaError.UNKNOWN_TOPIC_OR_PART), OwnRights(missing=["t"])),
        # A broker that does not say what it allows.
        (allowed([]), OwnRights()),
    ],
)
def test_what_is_not_allowed_is_lacking_and_what_is_not_there_is_missing(answer: "Future[TopicDescription]", expected: OwnRights) -> None:
    assert of_topic(answer) == expected


def test_no_answer_is_no_permission(unused_tcp_port: int) -> None:
    with pytest.raises(DependencyError, match="does not answer"):
        of_topic(refused(KafkaError._TIMED_OUT), Settings.load(kafka_bootstrap_servers=f"127.0.0.1:{unused_tcp_port}"))


def test_what_is_lacking_is_told_by_operation_in_order() -> None:
    found = OwnRights(lacking=[("WRITE", "topic b"), ("READ", "topic c"), ("READ", "group a")])

    assert list(found.by_operation().items()) == [("READ", ["group a", "topic c"]), ("WRITE", ["topic b"])]

"""What becomes of Kafka's errors: waited for, refused, or no answer at all; a command ends with another code for each."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka.admin import answer_of
from ems_streams.settings import Settings


class Answers:
    """Gives one after the other; those that are codes are raised as the client does."""

    def __init__(self, *answers: object) -> None:
        self.left = list(answers)

    def __call__(self) -> object:
        answer = self.left.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_a_leader_that_is_just_moving_is_asked_again(code: int) -> None:
    assert answer_of(Answers(code, code, "offsets"), "read topic t", Settings()) == "offsets"


def test_a_refusal_says_what_was_refused_and_is_no_outage() -> None:
    with pytest.raises(EmsError, match=r"Kafka does not allow us to read topic t; ") as refused:
        answer_of(Answers(KafkaError.TOPIC_AUTHORIZATION_FAILED), "read topic t", Settings())

    assert not isinstance(refused.value, DependencyError)


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN])
def test_no_answer_is_an_outage(code: int) -> None:
    with pytest.raises(DependencyError, match="EMS_KAFKA_BOOTSTRAP_SERVERS"):
        answer_of(Answers(code), "read topic t", Settings())

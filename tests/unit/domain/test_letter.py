"""Dead letters as they are read back, in our own form and in that of Spring."""

from datetime import UTC, datetime

import pytest

from ems_streams.domain.dead_letter import Origin, dead_letter_headers, replay_count_of
from ems_streams.domain.letter import LetterId, read_failure, read_letter, redriven_headers
from ems_streams.errors import UsageError

AT = datetime(2026, 1, 5, 10, 15, tzinfo=UTC)
PLACE = LetterId("device-telemetry-dlt", 3, 17)


def test_our_own_headers_are_read_back_as_they_were_written() -> None:
    origin = Origin("device-telemetry", 1_767_000_000_000, 3, 41)
    written = dead_letter_headers(origin, "invalid_json", "line 1", stage="aggregates", failed_at=AT, attempts=4, replay_count=2)
    failure = read_failure(written)

    assert failure.origin == origin
    assert (failure.error_class, failure.error_message, failure.stage) == ("invalid_json", "line 1", "aggregates")
    assert (failure.attempts, failure.replay_count, failure.first_failed_at) == (4, 2, "2026-01-05T10:15:00Z")
    assert not failure.from_mqtt


def test_what_came_over_mqtt_is_told_by_its_topic_without_a_partition() -> None:
    written = dead_letter_headers(Origin("sites/1/devices/INV-001/telemetry", 5), "empty", "", stage="ingress", failed_at=AT)
    assert read_failure(written).from_mqtt


SPRING = [
    ("kafka_dlt-original-topic", b"device-telemetry"),
    ("kafka_dlt-original-partition", (2).to_bytes(4, "big")),
    ("kafka_dlt-original-offset", (123_456_789_012).to_bytes(8, "big")),
    ("kafka_dlt-original-timestamp", (1_767_000_000_000).to_bytes(8, "big")),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.support.serializer.DeserializationException"),
    ("kafka_dlt-exception-message", b"cannot read it"),
    ("kafka_dlt-exception-stacktrace", b"at com.example.Reader.read(Reader.java:7)"),
]


def test_headers_of_spring_are_understood() -> None:
    failure = read_failure(SPRING)

    assert failure.origin == Origin("device-telemetry", 1_767_000_000_000, 2, 123_456_789_012)
    assert failure.error_class == "org.springframework.kafka.support.serializer.DeserializationException"
    assert (failure.error_message, failure.stage) == ("cannot read it", "billing")
    assert failure.stack_trace == "at com.example.Reader.read(Reader.java:7)"
    assert failure.replay_count == 0


def test_the_cause_says_more_than_what_spring_wraps_it_in() -> None:
    wrapped = [
        ("kafka_dlt-exception-fqcn", b"ListenerExecutionFailedException"),
        ("kafka_dlt-exception-cause-fqcn", b"java.io.IOException"),
    ]
    assert read_failure(wrapped).error_class == "java.io.IOException"


def test_a_negative_partition_of_spring_is_one_that_is_not_known() -> None:
    headers = [("kafka_dlt-original-topic", b"t"), ("kafka_dlt-original-partition", (-1).to_bytes(4, "big", signed=True))]
    assert read_failure(headers).origin == Origin("t", 0, -1, -1)


def test_our_headers_go_before_those_of_spring() -> None:
    ours = dead_letter_headers(Origin("device-status", 1, 0, 5), "empty", "no value", stage="sink", failed_at=AT)
    failure = read_failure([*SPRING, *ours])
    assert (failure.origin, failure.error_class, failure.stage) == (Origin("device-status", 1, 0, 5), "empty", "sink")


@pytest.mark.parametrize("nonsense", [b"", b"\xff\xfe", b"many", b"-", b"9" * 40, b"1.5"])
def test_headers_that_make_no_sense_are_as_if_they_were_not_there(nonsense: bytes) -> None:
    names = ("partition", "offset", "timestamp")
    headers = [("dlt-original-topic", b"t"), *((f"dlt-original-{name}", nonsense) for name in names), ("dlt-attempts", nonsense)]
    failure = read_failure([*headers, ("dlt-replay-count", nonsense)])
    assert (failure.origin, failure.attempts, failure.replay_count) == (Origin("t", 0, -1, -1), None, 0)


def test_nothing_is_known_of_a_letter_without_headers() -> None:
    letter = read_letter(PLACE, 5, None, None, [("trace", None)])
    assert (letter.failure.origin, letter.failure.error_class, letter.serial, letter.size) == (None, None, None, 0)
    assert letter.headers == (("trace", b""),)


def test_on_its_way_back_a_letter_carries_its_count_and_what_it_carried_for_others() -> None:
    ours = dead_letter_headers(Origin("t", 1, 0, 5), "empty", "", stage="sink", failed_at=AT, replay_count=2)
    letter = read_letter(PLACE, 5, b"k", b"v", [("traceparent", b"00-1"), *ours, *SPRING])
    carried = redriven_headers(letter, "rd-1234")

    assert replay_count_of(carried) == 3
    assert dict(carried) == {
        "traceparent": b"00-1",
        "dlt-replay-count": b"3",
        "dlt-redrive-id": b"rd-1234",
        "dlt-redriven-from": b"device-telemetry-dlt/3/17",
    }


def test_ids_are_read_as_they_are_written() -> None:
    assert LetterId.parse(str(PLACE)) == PLACE
    assert LetterId.parse("3/17", "device-telemetry-dlt") == PLACE


@pytest.mark.parametrize("text", ["", "t", "t/1", "t/x/1", "t/1/-1", "/1/1", "t/1/2/3", "t/1/" + "9" * 30, "t/1/²"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected the id of a dead letter"):
        LetterId.parse(text)


def test_an_id_of_another_topic_is_refused() -> None:
    with pytest.raises(UsageError, match="of another topic"):
        LetterId.parse("a-dlt/0/1", "b-dlt")


def test_of_a_key_that_could_not_be_read_spring_has_headers_of_its_own() -> None:
    failure = read_failure(
        [
            *SPRING[:5],
            ("kafka_dlt-key-exception-fqcn", b"DeserializationException"),
            ("kafka_dlt-key-exception-message", b"no such key"),
            ("kafka_dlt-key-exception-stacktrace", b"at Key"),
        ]
    )
    assert (failure.error_class, failure.error_message, failure.stack_trace) == ("DeserializationException", "no such key", "at Key")

from collections import Counter
from itertools import islice
from random import Random

import pytest

from ems_streams.dev.simulator import POISON_KINDS, poison_messages
from ems_streams.dev.simulator.poison import LARGE_BYTES, Victim, poison_message
from ems_streams.domain.device_topic import DeviceTopic, TopicKind
from ems_streams.domain.mqtt_payload import encode_status_report, encode_telemetry
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.errors import MalformedError


class NobodyIsRegistered(Directory):
    """A good message would get here: reaching it is the failure."""

    def __init__(self) -> None:
        pass

    def resolve(self, topic: DeviceTopic, device_id: int | None, device_type: str | None) -> RegistryEntry:
        pytest.fail("the message passed for a good one")


def ingest(topic: str, payload: bytes) -> None:
    parsed = DeviceTopic.parse(topic)
    encode = encode_status_report if parsed.kind is TopicKind.STATUS else encode_telemetry
    encode(payload, parsed, 1_750_496_400_000_000, NobodyIsRegistered())


def test_all_kinds_before_any_comes_again() -> None:
    kinds = Counter(kind for kind, _, _ in islice(poison_messages(Random(1)), 3 * len(POISON_KINDS)))
    assert set(kinds.values()) == {3}
    assert len(kinds) == len(set(POISON_KINDS)) >= 20


def test_the_same_random_gives_the_same_messages_and_most_are_unique() -> None:
    first, second = (list(islice(poison_messages(Random(1)), 500)) for _ in range(2))
    assert first == second
    assert len({(topic, payload) for _, topic, payload in first}) > 300


def test_there_is_a_message_of_two_megabytes() -> None:
    sizes = {kind: len(payload) for kind, _, payload in islice(poison_messages(Random(1)), len(POISON_KINDS))}
    assert sizes["two-megabytes"] == LARGE_BYTES
    assert sizes["empty"] == 0


@pytest.mark.parametrize("kind", POISON_KINDS)
def test_no_kind_of_poison_passes_for_a_good_message(kind: str) -> None:
    topic, payload = poison_message(kind, Victim(1, "INV-00001", "tag"))
    with pytest.raises(MalformedError):
        ingest(topic, payload)


@pytest.mark.parametrize("kind", POISON_KINDS)
def test_every_topic_can_be_published_and_is_subscribed_to(kind: str) -> None:
    topic, _ = poison_message(kind, Victim(1, "INV-00001", "tag"))
    levels = topic.split("/")
    assert [levels[0], levels[2]] == ["sites", "devices"]
    assert levels[4:] in (["telemetry"], ["status"])
    assert not set(topic) & set("+#\0")

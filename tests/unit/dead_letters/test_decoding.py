"""Whether readers of a topic could make something of a record: asked of the topics that have readers, which are not written down again here."""

import json

import pytest

from ems_streams.dead_letters.decoding import defect_of
from ems_streams.kafka.catalogue import DEVICE_COMMAND_EVENTS, DEVICE_COMMANDS, DEVICE_STATUS, DLT_SUFFIX, INGRESS_HEARTBEATS, Catalogue
from tests.support.sink import transition_of
from tests.unit.domain.command_builders import request

_NOT_CHECKED = {INGRESS_HEARTBEATS: "is never sent back", DEVICE_COMMAND_EVENTS: "nobody here puts one of them aside"}
READ = [
    topic.name.removesuffix(DLT_SUFFIX)
    for topic in Catalogue("app", 4)
    if topic.name.endswith(DLT_SUFFIX) and topic.name.removesuffix(DLT_SUFFIX) not in _NOT_CHECKED
]


@pytest.mark.parametrize("topic", READ)
def test_what_no_reader_can_read_is_found_on_every_topic_with_dead_letters(topic: str) -> None:
    assert defect_of(topic, b"INV-001", b"{") is not None


def test_a_command_is_checked_as_its_agent_does_with_its_key() -> None:
    good = request()
    assert defect_of(DEVICE_COMMANDS, good.key, good.encode()) is None
    other_key = defect_of(DEVICE_COMMANDS, b"another", good.encode())
    assert other_key is not None
    assert other_key.reason == "key_mismatch"
    too_much = defect_of(DEVICE_COMMANDS, good.key, request(parameters={"powerLimitKw": -1e9}).encode())
    assert too_much is not None
    assert "powerLimitKw" in too_much.detail


def test_a_transition_has_two_readers_and_one_of_them_wants_its_key() -> None:
    value = json.dumps(transition_of("INV-001")).encode()
    assert defect_of(DEVICE_STATUS, b"INV-001", value) is None
    other_key = defect_of(DEVICE_STATUS, b"INV-002", value)
    assert other_key is not None
    assert other_key.reason == "key_mismatch"

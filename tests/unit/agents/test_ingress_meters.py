"""What is counted of a batch of MQTT messages."""

import pytest

from agents.ingress_meters import count_batch
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, dlt_of
from ems_streams.kafka.outbox import Record
from ems_streams.metrics import ingress
from ems_streams.mqtt.inbox import MqttMessage


def outcomes() -> dict[tuple[str, str], float]:
    samples = [each for each in ingress.MESSAGES.collect()[0].samples if each.name.endswith("_total")]
    return {(each.labels["kind"], each.labels["outcome"]): each.value for each in samples}


def test_messages_are_counted_by_what_became_of_them_and_registry_entries_are_none() -> None:
    before, bytes_before = outcomes(), ingress.RECEIVED_BYTES._value.get()
    topics = [DEVICE_REGISTRY, DEVICE_TELEMETRY, DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, dlt_of(DEVICE_STATUS_REPORTS)]
    messages = [MqttMessage("sites/1/devices/A/telemetry", b"12345", 1, False)] * 6
    count_batch(messages, [Record(topic, b"A", b"x") for topic in topics], 0.01)
    grown = {key: value - before[key] for key, value in outcomes().items() if value != before[key]}
    assert grown == {("telemetry", "accepted"): 2, ("status", "accepted"): 1, ("status", "dead_letter"): 1, ("other", "ignored"): 2}
    assert ingress.RECEIVED_BYTES._value.get() - bytes_before == 30


@pytest.mark.parametrize("kind", ["telemetry", "status", "command_ack"])
def test_every_kind_is_there_before_anything_comes(kind: str) -> None:
    assert {(kind, "accepted"), (kind, "dead_letter")} <= outcomes().keys()

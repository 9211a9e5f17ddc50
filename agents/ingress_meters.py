"""What is counted of each batch of the ingress agent, once it is safe."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, dlt_of
from ems_streams.kafka.outbox import Record
from ems_streams.metrics import ingress
from ems_streams.mqtt.inbox import MqttMessage

_KINDS: Final = {DEVICE_TELEMETRY: "telemetry", DEVICE_STATUS_REPORTS: "status", DEVICE_COMMAND_ACKS: "command_ack"}
_OUTCOMES: Final = {
    **{topic: ingress.MESSAGES.labels(kind, "accepted") for topic, kind in _KINDS.items()},
    **{dlt_of(topic): ingress.MESSAGES.labels(kind, "dead_letter") for topic, kind in _KINDS.items()},
}
_IGNORED: Final = ingress.MESSAGES.labels("other", "ignored")


def count_batch(messages: Sequence[MqttMessage], records: Sequence[Record], took_s: float) -> None:
    """Count messages, the records that they became (other ones among them are of no message), and how long that took."""
    became = 0
    for topic, count in Counter(record.topic for record in records).items():
        if (outcome := _OUTCOMES.get(topic)) is not None:
            outcome.inc(count)
            became += count
    if became < len(messages):
        _IGNORED.inc(len(messages) - became)
    ingress.RECEIVED_BYTES.inc(sum(len(message.payload) for message in messages))
    ingress.BATCH_MESSAGES.observe(len(messages))
    ingress.BATCH_SECONDS.observe(took_s)

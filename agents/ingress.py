"""The ingress agent: MQTT batch -> validated records -> Kafka, acknowledged -> PUBACK, in this order."""

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol

import faust
import structlog

from agents.ingress_meters import count_batch
from agents.ingress_traces import traced
from ems_streams.domain.dead_letter import Headers, Origin, dead_letter_headers, kept_value, malformed_headers
from ems_streams.domain.device_topic import TopicKind, parse_topic, serial_number_in
from ems_streams.domain.receipt_clock import ReceiptClock, moment
from ems_streams.domain.registry import Directory
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, dlt_of
from ems_streams.kafka.ingress_routes import ROUTES, STAGE, target_of
from ems_streams.kafka.outbox import Record
from ems_streams.kafka.retries import ATTEMPTS_MAX, attempts
from ems_streams.mqtt.inbox import MqttBatch, MqttMessage

log = structlog.get_logger(__name__)

AGENT_NAME = "ingress"
TOPICS = (*(t for topic, _ in ROUTES.values() for t in (topic, dlt_of(topic))), DEVICE_REGISTRY)
"""Every Kafka topic that the ingress writes to."""


class Outbox(Protocol):
    """Where records go; `KafkaOutbox`."""

    async def deliver(self, records: Iterable[Record]) -> None:
        """Return when all of them are safe."""


class Source(Protocol):
    """Where batches come from; `MqttSubscriber`."""

    async def acknowledge(self, batch: MqttBatch) -> bool:
        """Tell the broker that a batch is safe; false when it will come again."""


class Translator:
    """Turns MQTT messages into the Kafka records that they become; no I/O.

    Every message becomes one record, on its topic or in the dead letters, with two exceptions: commands are our own, and
    an empty retained message is how MQTT deletes a retained one.

    Args:
        directory: Registry of the devices.
        now_us: Wall clock in microseconds since 1970.
    """

    def __init__(self, directory: Directory, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._directory = directory
        self._now_us = now_us
        self._clock = ReceiptClock()

    def translate(self, messages: Iterable[MqttMessage]) -> list[Record]:
        """Records for messages, in their order, and the registry entries that they bring about."""
        records = [record for message in messages if (record := self._record(message)) is not None]
        registered = [Record(DEVICE_REGISTRY, entry.serial_number.encode(), entry.encode()) for entry in self._directory.take_new()]
        return registered + records

    def _record(self, message: MqttMessage) -> Record | None:
        received_us = self._clock.tick(self._now_us())
        try:
            topic = parse_topic(message.topic)
            if topic.kind is TopicKind.COMMANDS or (message.retain and not message.payload):
                return None
            target, encode = ROUTES[topic.kind]
            return Record(target, topic.serial_number.encode(), encode(message.payload, topic, received_us, self._directory))
        except MalformedError as error:
            headers = malformed_headers(_origin(message, received_us), error, stage=STAGE, failed_at=moment(received_us))
            return _dead_letter(message, headers)

    async def translate_patiently(self, messages: Sequence[MqttMessage]) -> list[Record]:
        """As `translate`, but a message at which it fails is tried again by itself, and then becomes a dead letter."""
        try:
            return self.translate(messages)
        except Exception as error:  # noqa: BLE001 - whatever it is, one message must not hold up all others
            log.warning("translation_failed", messages=len(messages), error=repr(error))
        # At the same time, so that many failing messages wait as long as one; the records stay in the order of the messages.
        return list(chain.from_iterable(await asyncio.gather(*map(self._translate_alone, messages))))

    async def _translate_alone(self, message: MqttMessage) -> list[Record]:
        records: list[Record] = []
        received_us = self._clock.tick(self._now_us())
        try:
            async for attempt in attempts():
                with attempt:
                    records = self.translate([message])
        except Exception as error:  # noqa: BLE001 - said in the dead letter
            log.error("message_put_aside", topic=message.topic, attempts=ATTEMPTS_MAX, error=repr(error))
            headers = dead_letter_headers(
                _origin(message, received_us),
                type(error).__name__,
                repr(error),
                stage=STAGE,
                failed_at=moment(received_us),
                attempts=ATTEMPTS_MAX,
            )
            records = [_dead_letter(message, headers)]
        return records


def _origin(message: MqttMessage, received_us: int) -> Origin:
    return Origin(message.topic, timestamp_ms=received_us // 1000)


def _dead_letter(message: MqttMessage, headers: Headers) -> Record:
    serial_number = serial_number_in(message.topic)
    value, size_headers = kept_value(message.payload)
    return Record(dlt_of(target_of(message.topic)), serial_number.encode() if serial_number else None, value, headers + size_headers)


def register(
    app: faust.App,
    channel: faust.ChannelT,
    translator: Translator,
    outbox: Outbox,
    source: Source,
    *,
    on_failure: Callable[[BaseException], None],
) -> None:
    """Make the agent that handles the batches of the channel, one after the other.

    One at a time keeps the order of a device also when Kafka fails in between, and costs little: what arrives meanwhile is
    the next batch. An unexpected error goes to `on_failure` and ends the agent; Faust alone would log it and drop the batch,
    which would then be neither in Kafka nor acknowledged for as long as the connection lasts.
    """

    async def ingress(batches: AsyncIterable[MqttBatch]) -> None:
        async for batch in batches:
            began_s = time.monotonic()
            try:
                records = await translator.translate_patiently(batch.messages)
                with traced(records) as delivered:
                    await outbox.deliver(delivered)
                await source.acknowledge(batch)
                count_batch(batch.messages, records, time.monotonic() - began_s)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not be lost with the batch
                on_failure(error)
                return

    app.agent(channel, name=AGENT_NAME, concurrency=1)(ingress)

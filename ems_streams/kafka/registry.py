"""The device registry as every process of the ingress sees it: a read-only table of the whole compacted topic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import stamina
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import ConsumerRecord

from ems_streams.domain.events import decode
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import MalformedError, TopicsMissingError
from ems_streams.kafka.catalogue import DEVICE_REGISTRY
from ems_streams.kafka.client import client_options
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

_POLL_MS = 500
_MAX_POLL_RECORDS = 5000
_PROGRESS_EVERY = 100_000

T = TypeVar("T")


class RegistryView:
    """All entries of `device-registry`, by serial number, kept up to date in the background.

    `start` returns when everything that was on the topic at that time is known. Later records appear within about the
    fetch time of the broker. While Kafka is away the last known entries stay. A record that cannot be read is skipped
    and logged: one bad import must not stop the ingress.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: dict[str, RegistryEntry] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._tail: asyncio.Task[None] | None = None
        self._records_read = 0
        self.caught_up = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def detail(self) -> str:
        """One line for a health check."""
        return f"{len(self)} devices" if self.caught_up else f"reading, {self._records_read} records so far"

    def get(self, serial_number: str) -> RegistryEntry | None:
        """The entry of a device."""
        return self._entries.get(serial_number)

    def entries(self) -> Iterator[RegistryEntry]:
        """All entries, in no order; those of the moment of the call."""
        return iter(list(self._entries.values()))

    def learn(self, entry: RegistryEntry) -> None:
        """Know an entry before it comes back on the topic; the caller publishes it."""
        self._entries[entry.serial_number] = entry

    async def start(self) -> None:
        """Read to the end, however long Kafka takes to be there; raises `TopicsMissingError`."""
        self._consumer = await self._open()
        await self._read_to_end(self._consumer)
        self.caught_up = True
        self._tail = asyncio.create_task(self._follow(self._consumer), name="registry view")

    async def stop(self) -> None:
        """Stop following; what is known stays."""
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.gather(self._tail, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()

    async def _open(self) -> AIOKafkaConsumer:
        retrying = stamina.retry_context(on=(KafkaError, OSError), attempts=None, timeout=None, wait_max=10.0)
        async for attempt in retrying:
            with attempt:
                # Without a group all partitions are assigned, those added later as well.
                consumer = AIOKafkaConsumer(
                    DEVICE_REGISTRY,
                    **client_options(self._settings),
                    client_id=f"{self._settings.ingress_id}-registry",
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    isolation_level="read_committed",
                )
                try:
                    await consumer.start()
                except UnknownTopicOrPartitionError:
                    await consumer.stop()
                    raise TopicsMissingError([DEVICE_REGISTRY]) from None
                except BaseException:
                    await consumer.stop()
                    raise
                return consumer
        raise AssertionError("unreachable: attempts are unlimited")

    async def _read_to_end(self, consumer: AIOKafkaConsumer) -> None:
        partitions = sorted(consumer.assignment())
        ends: dict[TopicPartition, int] = await _retried(lambda: consumer.end_offsets(partitions))
        while True:
            behind = [partition for partition in partitions if await consumer.position(partition) < ends[partition]]
            if not behind:
                return
            await self._poll(consumer)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._poll(consumer)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        try:
            polled = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_POLL_RECORDS)
        except KafkaError as error:
            log.warning("registry_read_failed", error=repr(error))
            await asyncio.sleep(_POLL_MS / 1000)
            return
        for records in polled.values():
            for record in records:
                self._apply(record)

    def _apply(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        self._records_read += 1
        if not self.caught_up and self._records_read % _PROGRESS_EVERY == 0:
            log.info("registry_reading", records=self._records_read, devices=len(self))
        serial_number = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._entries.pop(serial_number, None)
            return
        try:
            entry = decode(RegistryEntry, record.value)
        except MalformedError as error:
            log.error(
                "registry_record_skipped", serial_number=serial_number, partition=record.partition, offset=record.offset, error=str(error)
            )
            return
        self._entries[entry.serial_number] = entry


async def _retried(ask: Callable[[], Awaitable[T]]) -> T:
    async for attempt in stamina.retry_context(on=(KafkaError, OSError), attempts=None, timeout=None, wait_max=10.0):
        with attempt:
            return await ask()
    raise AssertionError("unreachable: attempts are unlimited")

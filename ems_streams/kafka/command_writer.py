"""Writing records from a command: it returns when Kafka has them, or raises within a time. The client itself would try for ever, and wait for that at its end."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from ems_streams.errors import DependencyError
from ems_streams.kafka.batching import KeyValue, send_records
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.closing import close_client
from ems_streams.kafka.refusals import told, unreachable
from ems_streams.settings import Settings

WRITE_TIMEOUT_S: Final = 30.0
"""Of one call; some thousand records take a fraction of a second."""
_CLOSE_TIMEOUT_S: Final = 5.0


class CommandWriter:
    """Made by `command_writer`.

    Args:
        what: Is written, for the error.
        remedy: What to do when it is not taken.
    """

    def __init__(self, producer: AIOKafkaProducer, what: str, remedy: str) -> None:
        self._producer = producer
        self._what = what
        self._remedy = remedy
        self._written = 0

    async def write(self, records: Mapping[tuple[str, int], Iterable[KeyValue]]) -> None:
        """Return when Kafka has the records of these topics and partitions; raises `DependencyError`, and some of them may be there then."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                sent = [batch for target, part in sorted(records.items()) for batch in await send_records(self._producer, *target, part)]
                for batch in sent:
                    await batch.last_offset()
        except KafkaError as error:
            raise self._not_taken(told(error)) from None
        except TimeoutError:
            raise self._not_taken(f"{self._written} records are written, the next ones not within {WRITE_TIMEOUT_S:.0f} s") from None
        self._written += sum(batch.count for batch in sent)

    def _not_taken(self, why: str) -> DependencyError:
        return DependencyError(f"Kafka does not take {self._what}: {why}; {self._remedy}")


@asynccontextmanager
async def command_writer(settings: Settings, what: str, remedy: str, **options: Any) -> AsyncIterator[CommandWriter]:
    """A writer while the context lasts; raises `DependencyError` when Kafka cannot be reached."""
    producer = AIOKafkaProducer(**producer_options(settings), **options)
    try:
        await producer.start()
    except (KafkaConnectionError, OSError):
        await close_client(producer, _CLOSE_TIMEOUT_S)
        raise unreachable(settings) from None
    try:
        yield CommandWriter(producer, what, remedy)
    finally:
        # What is not sent would be waited for here as well.
        await close_client(producer, _CLOSE_TIMEOUT_S)

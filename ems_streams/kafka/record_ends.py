"""Where the records of a partition end, as against its log: markers of transactions and aborted records behind the last one do not count.

Who compares how far something is read with the end of a log never gets there if the log ends with a marker, which no reader is given. Most
topics of devices have no transactions, until somebody redrives dead letters, or another program writes to them in one.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.errors import EmsError
from ems_streams.kafka.client import client_options
from ems_streams.kafka.closing import close_client
from ems_streams.kafka.range_reader import POLL_TIMEOUT_MS, read_ranges
from ems_streams.settings import Settings

_LOOK_BACK: Final = (4, 64, 1024, 16_384)
"""A redrive writes at most 500 records in a transaction; what lies deeper is as if it were a record."""
_TIMEOUT_S: Final = 3.0
_FETCH_BYTES: Final = 64 * 1024


class RecordEnds:
    """Remembers what it has looked up, so that a log that does not grow is looked at once.

    Args:
        client_id: Name at the brokers.
    """

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._consumer: AIOKafkaConsumer | None = None
        self._known: dict[TopicPartition, tuple[int, int]] = {}

    async def of(self, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """For each end of a log the offset behind its last committed record; the end itself where that cannot be found out for now."""
        unknown = {tp: end for tp, end in ends.items() if self._known.get(tp, (-1, -1))[0] != end}
        if unknown:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._look(unknown)
            except (KafkaError, OSError, EmsError, TimeoutError):
                # Among others a transaction that is under way: its records may still become visible.
                await self.stop()
        return {tp: self._known[tp][1] if self._known.get(tp, (-1, -1))[0] == end else end for tp, end in ends.items()}

    async def stop(self) -> None:
        """Close the client, if there is one."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_client(consumer, _TIMEOUT_S)

    async def _look(self, ends: Mapping[TopicPartition, int]) -> None:
        consumer = self._consumer or await self._open()
        begins = await consumer.beginning_offsets(list(ends))
        pending = dict(ends)
        for depth in _LOOK_BACK:
            last = dict.fromkeys(pending, -1)
            async with contextlib.aclosing(
                read_ranges(consumer, {tp: (max(begins[tp], end - depth), end) for tp, end in pending.items()})
            ) as pieces:
                async for tp, records in pieces:
                    last[tp] = max(last[tp], records[-1].offset)
            for tp, end in list(pending.items()):
                if last[tp] >= 0 or end - depth <= begins[tp]:
                    self._known[tp] = end, last[tp] + 1
                    del pending[tp]
            if not pending:
                return
        self._known.update({tp: (end, end) for tp, end in pending.items()})

    async def _open(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            client_id=self._client_id,
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="none",
            fetch_max_wait_ms=POLL_TIMEOUT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
            max_poll_records=None,  # the reader of source topics in a worker must drain at once
        )
        self._consumer = consumer
        await consumer.start()
        return consumer

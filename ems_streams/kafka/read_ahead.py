"""What an agent reads to its end before anything else: what was applied before a worker began counts from its first record on."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ems_streams.kafka.client import client_options
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS = 200
TIMEOUT_S = 10.0
"""Longest wait for an end: an open transaction of somebody who was killed hides it until the broker has aborted that."""


async def read_ahead(
    settings: Settings, positions: Mapping[TopicPartition, int]
) -> AsyncGenerator[tuple[TopicPartition, Sequence[ConsumerRecord]], None]:
    """Committed records behind the positions (offset of the last record that is known, or -1), up to the ends as they are now.

    Nothing is lost when the time is over before an end is reached: the rest comes as everything else. Raises `KafkaError`.
    """
    if not positions:
        return
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, isolation_level="read_committed", auto_offset_reset="earliest")
    try:
        await consumer.start()
        begins, ends = await consumer.beginning_offsets(list(positions)), await consumer.end_offsets(list(positions))
        starts = {tp: max(position + 1, begins[tp]) for tp, position in positions.items()}
        pending = {tp for tp, start in starts.items() if start < ends[tp]}
        consumer.assign(list(pending))
        for tp in pending:
            consumer.seek(tp, starts[tp])
        deadline_s = time.monotonic() + TIMEOUT_S
        while pending and time.monotonic() < deadline_s:
            for tp, records in (await consumer.getmany(*pending, timeout_ms=POLL_TIMEOUT_MS)).items():
                yield tp, records
            pending = {tp for tp in pending if await consumer.position(tp) < ends[tp]}
        if pending:
            log.warning("not_read_ahead", partitions=[f"{tp.topic}[{tp.partition}]" for tp in sorted(pending)], timeout_s=TIMEOUT_S)
    finally:
        # Also one that could not start: it would complain when it is collected.
        await consumer.stop()

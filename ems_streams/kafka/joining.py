"""Joining a consumer group of a Kafka that may be away."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog
from aiokafka.errors import KafkaError

from ems_streams.kafka.refusals import told

log = structlog.get_logger(__name__)


async def start_patiently(start: Callable[[], Awaitable[None]]) -> None:
    """Call `start` until Kafka is there; raises whatever else goes wrong."""
    while True:
        try:
            await start()
            return
        except (KafkaError, OSError) as error:
            log.warning("group_not_joined", error=told(error))
            await asyncio.sleep(random.uniform(1.0, 2.0))  # noqa: S311 - no secret

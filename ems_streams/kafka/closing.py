"""Closing a Kafka client, whatever state it is in."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def close_client(client: AIOKafkaConsumer | AIOKafkaProducer, timeout_s: float) -> bool:
    """Stop it, for at most so long; whether that went well.

    In a task of its own: closed in the middle of a fetch that has failed, it raises the cancellation of its own tasks, which would end whoever waits.
    """
    stopping = asyncio.ensure_future(client.stop())
    done, _ = await asyncio.wait((stopping,), timeout=timeout_s)
    if not done:
        stopping.cancel()
        return False
    return not stopping.cancelled() and stopping.exception() is None

"""Connecting to one broker, asking it one thing, and closing the connection for good: to see whether it lets us in."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

_CLOSE_TIMEOUT_S = 1.0


async def knock(host: str, port: int, security: Mapping[str, Any], timeout_s: float, client_id: str = "ems-knock") -> int:
    """How many brokers it knows of; raises a `KafkaError`, `OSError` or `TimeoutError`, and leaves no connection behind.

    Args:
        security: As `aiokafka_security` gives it.
    """
    connection = AIOKafkaConnection(host, port, client_id=client_id, request_timeout_ms=int(timeout_s * 1000), **security)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.connect()
            # Also a listener that wants a login lets one connect without; it is the first request that it does not answer.
            answer = await connection.send(MetadataRequest([]))
            return len(answer.brokers)
    finally:
        closed = connection.close()
        if closed is not None and connection._protocol is not None:
            # TLS says goodbye, which takes a moment; the loop may be over after that.
            await asyncio.wait([closed], timeout=_CLOSE_TIMEOUT_S)

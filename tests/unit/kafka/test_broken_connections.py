"""A write on a connection that has just ended is an error of Kafka's, with uvloop too."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from ems_streams.kafka.broken_connections import say_broken_connections


async def _write_after_the_end(turns: int) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = AIOKafkaConnection("127.0.0.1", port)
    connection._reader, connection._writer = await asyncio.open_connection("127.0.0.1", port)
    connection._read_task = connection._create_reader_task()
    connection._writer.transport.abort()
    for _ in range(turns):
        await asyncio.sleep(0)
    try:
        await connection.send(ApiVersionRequest())
    finally:
        connection.close()
        server.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("turns", range(4))
def test_a_write_on_a_connection_that_has_just_ended_is_an_error_of_kafka(turns: int) -> None:
    """In the turns of the loop between its end and the moment at which the client is told."""
    say_broken_connections()
    say_broken_connections()
    with pytest.raises(KafkaConnectionError):
        uvloop.run(_write_after_the_end(turns))

"""The input buffer holds what was written and not read, whatever the pieces, in memory that follows it."""

import asyncio
import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.mqtt.connection import FAILURES, Connection
from ems_streams.mqtt.endpoint import Endpoint, Login
from ems_streams.mqtt.input_buffer import FIRST_BYTES, KEPT_BYTES, InputBuffer

MIB = 1024 * 1024
CONNECTIONS = 20


def read(buffer: InputBuffer, count: int) -> bytes:
    found = bytes(buffer.view[buffer.left : min(buffer.left + count, buffer.right)])
    buffer.left += len(found)
    return found


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 250_000)), max_size=30))
def test_what_is_read_is_what_was_written(pieces: list[tuple[int, int]]) -> None:
    buffer, written, taken = InputBuffer(16 * MIB), bytearray(), bytearray()
    for number, (write, take) in enumerate(pieces):
        data = bytes((number + 1,)) * write
        buffer.write(data)
        written += data
        taken += read(buffer, take)
        assert taken + buffer.view[buffer.left : buffer.right] == written


def test_it_takes_as_much_as_was_asked_for_and_no_more() -> None:
    buffer = InputBuffer(3 * FIRST_BYTES)
    buffer.write(b"a" * (3 * FIRST_BYTES))
    with pytest.raises(RuntimeError, match="overflow"):
        buffer.write(b"b")
    assert read(buffer, 1) == b"a"
    buffer.write(b"b")
    assert len(buffer.buffer) == 3 * FIRST_BYTES
    assert read(buffer, 3 * FIRST_BYTES)[-2:] == b"ab"


def test_memory_follows_what_is_held() -> None:
    buffer = InputBuffer(16 * MIB)
    for _ in range(1000):
        buffer.write(b"x" * 16_384)
        read(buffer, 16_384)
    assert len(buffer.buffer) == FIRST_BYTES
    buffer.write(b"x" * (10 * MIB))
    assert len(buffer.buffer) > KEPT_BYTES
    read(buffer, 10 * MIB)
    buffer.write(b"x")
    assert len(buffer.buffer) == FIRST_BYTES
    buffer.drop()
    assert len(buffer.buffer) == 0
    buffer.write(b"y")
    assert read(buffer, 5) == b"y"


async def test_connections_that_were_tried_hold_next_to_nothing() -> None:
    """Also before the collector has found them: it counts objects, and these are few."""

    async def greet_badly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet_badly, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        held = []
        for _ in range(CONNECTIONS):
            connection = Connection(endpoint, Login(None, None), "c", clean_start=False, session_expiry_s=60, keep_alive_s=60)
            with pytest.raises(FAILURES):
                await connection.open(5)
            held.append(connection)
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
        server.close()
    assert now < CONNECTIONS * FIRST_BYTES / 2
    assert most < 4 * MIB
    assert len(held) == CONNECTIONS

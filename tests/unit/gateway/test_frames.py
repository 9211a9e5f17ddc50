"""Messages made once for all clients: what aiohttp would have sent, shared, and gone when the ring changes."""

import aiohttp
import pytest
from aiohttp import web

from ems_streams.gateway import frames as module
from ems_streams.gateway.filters import Facts, Filter
from ems_streams.gateway.frames import CHUNK_BYTES, Chunks, text_frame
from ems_streams.gateway.ring import FRAMES_KEPT, Ring
from ems_streams.ops.http import bound_port, start_site


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
async def test_a_frame_is_read_by_a_client(size: int) -> None:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(text_frame(b"x" * size) + text_frame(b"next"))
        await socket.receive()
        return socket

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    runner = await start_site(app, "127.0.0.1", 0, "PORT")
    try:
        async with aiohttp.ClientSession() as client, client.ws_connect(f"http://127.0.0.1:{bound_port(runner)}/") as stream:
            assert await stream.receive_str(timeout=5) == "x" * size
            assert await stream.receive_str(timeout=5) == "next"
    finally:
        await runner.cleanup()


def ring_of(*payloads: bytes) -> Ring:
    ring = Ring(100, [0])
    for offset, payload in enumerate(payloads):
        ring.add(0, offset, str(offset), payload, Facts(site_id=offset % 2))
    return ring


def test_clients_at_one_place_get_the_same_bytes() -> None:
    ring, chunks = ring_of(b"1", b"2"), Chunks()
    first, _, count = chunks.take(ring, 0, Filter())
    again, after, _ = chunks.take(ring, 0, Filter())
    assert again is first
    assert after == 2
    assert count == 2


def test_what_arrives_or_is_replaced_is_seen() -> None:
    ring, chunks = ring_of(b"1", b"2"), Chunks()
    chunks.take(ring, 0, Filter())
    ring.add(0, 2, "2", b"three")
    assert b"three" in chunks.take(ring, 0, Filter())[0]
    ring.add(0, 3, "2", b"changed")
    assert b"three" not in chunks.take(ring, 0, Filter())[0]


def test_a_chunk_is_bounded_and_a_filter_passes_over() -> None:
    ring, chunks = ring_of(*[b"x" * 30_000] * 10), Chunks()
    frames, after, _ = chunks.take(ring, 0, Filter())
    assert CHUNK_BYTES <= len(frames) < CHUNK_BYTES + 31_000
    assert after == 3
    assert chunks.take(ring, 0, Filter(sites=frozenset({5}))) == (b"", 10, 0)


def test_what_is_kept_joined_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOINED_BYTES_MAX", 100)
    ring, chunks = ring_of(*[b"x" * 60] * 10), Chunks()
    # Of a single entry the joined piece would be the entry's own frame, the same in any case.
    first, _, _ = chunks.take(ring, 8, Filter())
    again, _, _ = chunks.take(ring, 8, Filter())
    assert again == first
    assert again is not first


def test_the_place_after_a_cursor_is_found() -> None:
    ring = Ring(4, [0, 0])
    points = []
    for partition, offset in [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]:
        ring.add(partition, offset, f"{partition}-{offset}", b"")
        points.append(ring.after)
    assert [ring.position_after(point) for point in points] == [None, None, 3, 4, 5, 6]
    assert ring.position_after((1, 2)) == 3
    assert ring.position_after((2, 1)) is None


def test_frames_are_held_for_the_newest_entries_only() -> None:
    ring, chunks = Ring(2 * FRAMES_KEPT, [0]), Chunks()

    def held() -> list[int]:
        return [position for position in range(ring.start, ring.end) if ring.at(position).frame is not None]

    for offset in range(FRAMES_KEPT + 2):
        ring.add(0, offset, str(offset), b"{}")
        chunks.take(ring, offset, Filter())
    assert held() == list(range(2, FRAMES_KEPT + 2))
    # Who comes from further back gets the same, and leaves nothing behind.
    late = chunks.take(ring, 0, Filter())
    assert late.notifications == FRAMES_KEPT + 2
    assert held() == list(range(2, FRAMES_KEPT + 2))

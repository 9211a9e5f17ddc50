"""Notifications from a real Kafka to WebSocket and list: exact resume, duplicates, slow clients."""

import asyncio
import base64
import json
import os
import socket
import struct
import time
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from ems_streams.gateway.cursors import decode_feed, encode_device, encode_feed
from ems_streams.gateway.websocket import Limits
from tests.support.notification_site import PARTITIONS, Notifications, Site, gateway

pytestmark = pytest.mark.integration


async def take(stream: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    return [await stream.receive_json(timeout=5) for _ in range(count)]


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [message["notification"]["notificationId"] for message in messages]


async def nothing_more(stream: aiohttp.ClientWebSocketResponse) -> bool:
    try:
        await stream.receive(timeout=0.4)
    except TimeoutError:
        return True
    return False


async def test_a_notification_arrives_within_half_a_second(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect() as stream:
        took_s = []
        for number in range(10):
            began = time.monotonic()
            await notifications.send(str(number), partition=number % PARTITIONS, title="x")
            assert ids(await take(stream, 1)) == [str(number)]
            took_s.append(time.monotonic() - began)
        assert max(took_s) < 0.5


async def test_without_a_cursor_only_news_come(notifications: Notifications) -> None:
    await notifications.send("old")
    async with gateway(notifications) as site, site.connect() as stream:
        await notifications.send("new")
        assert ids(await take(stream, 1)) == ["new"]


async def test_every_cursor_resumes_exactly_also_after_a_restart(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect() as stream:
        for number in range(30):
            await notifications.send(str(number), partition=(number * 7) % PARTITIONS)
        messages = await take(stream, 30)
    arrived = ids(messages)
    async with gateway(notifications) as site:
        for at in range(0, 30, 3):
            async with site.connect(messages[at]["cursor"]) as stream:
                # Read back, the order between partitions can be another one; nothing is missing and nothing comes twice.
                assert sorted(ids(await take(stream, 29 - at))) == sorted(arrived[at + 1 :])
                assert await nothing_more(stream)


async def test_interrupted_again_and_again_gives_each_once(notifications: Notifications) -> None:
    for number in range(40):
        await notifications.send(str(number), partition=(number * 5) % PARTITIONS)
    got: list[str] = []
    cursor = encode_feed([0] * PARTITIONS)
    while len(got) < 40:
        async with gateway(notifications) as site, site.connect(cursor) as stream:
            messages = await take(stream, min(9, 40 - len(got)))
            got += ids(messages)
            cursor = messages[-1]["cursor"]
    assert sorted(got) == sorted(map(str, range(40)))


async def test_what_is_older_than_the_ring_is_read_from_kafka(notifications: Notifications) -> None:
    async with gateway(notifications, capacity=5) as site:
        for number in range(50):
            await notifications.send(str(number), partition=number % PARTITIONS)
        async with site.connect(encode_feed([0] * PARTITIONS)) as stream:
            messages = await take(stream, 50)
            assert sorted(ids(messages)) == sorted(map(str, range(50)))
            await notifications.send("live")
            assert ids(await take(stream, 1)) == ["live"]
        half = messages[24]["cursor"]
        async with site.connect(half) as stream:
            assert sorted(ids(await take(stream, 26))) == sorted([*ids(messages)[25:], "live"])
            assert await nothing_more(stream)


async def test_a_duplicate_is_sent_once_and_updates_the_list(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect() as stream:
        await notifications.send("a", title="first")
        await notifications.send("a", title="second")
        await notifications.send("b")
        assert ids(await take(stream, 2)) == ["a", "b"]
        page = await site.page()
        assert [(each["notificationId"], each.get("title")) for each in page["notifications"]] == [("b", None), ("a", "second")]
    async with gateway(notifications) as site:
        assert len((await site.page())["notifications"]) == 2


async def test_only_what_is_committed_is_told_and_markers_do_not_matter(notifications: Notifications) -> None:
    writer = AIOKafkaProducer(bootstrap_servers=notifications.settings.kafka_bootstrap_servers, transactional_id=notifications.topic)
    await writer.start()
    async with gateway(notifications) as site, site.connect() as stream:
        with pytest.raises(RuntimeError):
            async with writer.transaction():
                await writer.send_and_wait(notifications.topic, b'{"notificationId":"aborted"}', partition=0)
                raise RuntimeError
        async with writer.transaction():
            await writer.send_and_wait(notifications.topic, b'{"notificationId":"committed"}', partition=0)
        [message] = await take(stream, 1)
        assert ids([message]) == ["committed"]
    await writer.stop()
    began = time.monotonic()
    async with gateway(notifications) as site:
        assert time.monotonic() - began < 1.5
        assert ids([{"notification": each} for each in (await site.page())["notifications"]]) == ["committed"]
        async with site.connect(message["cursor"]) as stream:
            assert await nothing_more(stream)


async def test_what_is_not_a_notification_is_passed_over(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect() as stream:
        for value in (b"", b"{", b"[]", b"null", b"{}", b'{"notificationId":7}', b"\xff\xfe"):
            await notifications.send_raw(value)
        await notifications.send("good")
        assert ids(await take(stream, 1)) == ["good"]


@pytest.mark.parametrize("cursor", ["x", "!!", "AAAA", encode_device("INV-001"), encode_feed([1] * (PARTITIONS + 1))])
async def test_a_bad_cursor_is_a_400(notifications: Notifications, cursor: str) -> None:
    async with gateway(notifications) as site:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await site.connect(cursor)
        assert caught.value.status == 400


async def test_a_bad_page_cursor_is_a_problem_document(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.client.get("/api/v1/notifications?cursor=x") as response:
        assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_pages_of_another_site_may_not_connect(notifications: Notifications) -> None:
    async with gateway(notifications) as site:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await site.client.ws_connect("/ws/notifications", headers={"Origin": "https://evil.example"})
        assert caught.value.status == 403


async def test_the_list_pages_backwards_and_its_cursor_goes_on_live(notifications: Notifications) -> None:
    async with gateway(notifications) as site:
        for number in range(23):
            await notifications.send(str(number), partition=(number * 5) % PARTITIONS)
        async with asyncio.timeout(10):
            while len((await site.page(limit="500"))["notifications"]) < 23:
                await asyncio.sleep(0.02)
        first = await site.page(limit="10")
        for number in range(100, 105):
            await notifications.send(str(number), partition=number % PARTITIONS)
        seen = [each["notificationId"] for each in first["notifications"]]
        cursor = first["nextCursor"]
        while cursor:
            page = await site.page(limit="10", cursor=cursor)
            seen += [each["notificationId"] for each in page["notifications"]]
            cursor = page["nextCursor"]
        assert sorted(seen) == sorted(map(str, range(23)))
        whole = [each["notificationId"] for each in (await site.page(limit="500"))["notifications"]]
        assert seen == [each for each in whole if int(each) < 100]
        async with site.connect(first["cursor"]) as stream:
            assert sorted(ids(await take(stream, 5))) == [str(number) for number in range(100, 105)]


async def test_a_cursor_of_a_topic_that_was_made_anew_gives_all_that_is_there(notifications: Notifications) -> None:
    await notifications.send("only")
    async with gateway(notifications) as site, site.connect(encode_feed([900] * PARTITIONS)) as stream:
        assert ids(await take(stream, 1)) == ["only"]
        await notifications.send("next")
        assert ids(await take(stream, 1)) == ["next"]


async def test_stopping_tells_the_clients(notifications: Notifications) -> None:
    async with aiohttp.ClientSession() as session:
        async with gateway(notifications) as site:
            stream = await session.ws_connect(f"http://127.0.0.1:{site.port}/ws/notifications")
            receiving = asyncio.ensure_future(stream.receive(timeout=10))
            began = time.monotonic()
        message = await receiving
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
    assert time.monotonic() - began < 5


async def test_a_client_that_never_reads_is_closed_and_hurts_nobody(notifications: Notifications) -> None:
    limits = Limits(stall_s=1.0, close_grace_s=10.0)
    async with gateway(notifications, limits=limits) as site, site.connect() as healthy:
        lazy = open_and_never_read(site.port)
        async with asyncio.timeout(5):
            while site.socket.clients < 2:
                await asyncio.sleep(0.01)
        filler = "x" * 2000
        sending = asyncio.ensure_future(send_many(notifications, 3000, filler))
        messages = await take(healthy, 3000)
        await sending
        assert ids(messages) == [str(number) for number in range(3000)]
        codes = await asyncio.to_thread(read_close_code, lazy, 2.0)
        assert codes == 1013
        async with asyncio.timeout(12):
            while site.socket.clients > 1:
                await asyncio.sleep(0.05)
        await notifications.send("after")
        assert ids(await take(healthy, 1)) == ["after"]


async def test_a_client_that_answers_no_ping_is_closed(notifications: Notifications) -> None:
    limits = Limits(ping_every_s=0.2, silence_s=0.5, close_grace_s=0.5)
    async with gateway(notifications, limits=limits) as site, site.connect() as healthy:
        lazy = open_and_never_read(site.port)
        listening = asyncio.ensure_future(healthy.receive(timeout=30))
        async with asyncio.timeout(5):
            while site.socket.clients < 2:
                await asyncio.sleep(0.01)
        assert await asyncio.to_thread(read_close_code, lazy, 1.0) == 1013
        async with asyncio.timeout(5):
            while site.socket.clients > 1:
                await asyncio.sleep(0.01)
        assert not listening.done(), "the other one answers pings, and stays"
        listening.cancel()


async def test_a_message_has_the_cursor_and_the_notification(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect() as stream:
        await notifications.send("a", message="<b>&\u2028")
        text = (await stream.receive(timeout=5)).data
        message = json.loads(text)
        assert set(message) == {"cursor", "notification"}
        assert message["notification"]["message"] == "<b>&\u2028"
        assert decode_feed(message["cursor"]) == (1, 0, 0)


async def test_a_client_cut_a_hundred_times_sees_every_id_once(notifications: Notifications) -> None:
    total = 2000
    async with gateway(notifications, capacity=300) as site:
        sending = asyncio.ensure_future(send_in_turn(notifications, total))
        got: list[str] = []
        cursor, cuts = encode_feed([0] * PARTITIONS), 0
        while len(got) < total:
            async with site.connect(cursor) as stream:
                # Cut in the middle of what is on the way.
                for message in await take(stream, min(1 + (cuts * 7) % 37, total - len(got))):
                    got += ids([message])
                    cursor = message["cursor"]
            cuts += 1
            if cuts % 25 == 0:
                await until_the_ring_has_moved_on(site, sending)
        await sending
        assert cuts >= 100
        assert sorted(got, key=int) == [str(number) for number in range(total)]


async def test_a_cursor_of_a_gateway_that_read_in_another_order_gives_each_once(notifications: Notifications) -> None:
    async with gateway(notifications) as site:
        for number in range(10):
            await notifications.send(str(number), partition=number % 2)
        # All of partition 1 was told before anything of partition 0.
        async with site.connect(encode_feed([0, 5, 0])) as stream:
            messages = await take(stream, 5)
            assert ids(messages) == ["0", "2", "4", "6", "8"]
            assert await nothing_more(stream)
        for message in messages:
            async with site.connect(message["cursor"]) as stream:
                rest = ids(messages)[messages.index(message) + 1 :]
                assert ids(await take(stream, len(rest))) == rest
                assert await nothing_more(stream)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"site": "1"}, ["a", "b"]),
        ({"site": "1,2", "severity": "CRITICAL"}, ["b", "c"]),
        ({"device": "INV-1"}, ["a", "c"]),
        ({"kind": "ALARM_RAISED"}, ["c"]),
        ({"site": "3"}, []),
    ],
)
async def test_filters_give_what_was_asked_for_live_from_the_ring_and_from_kafka(
    notifications: Notifications, query: dict[str, str], wanted: list[str]
) -> None:
    sent = {
        "a": {"siteId": 1, "serialNumber": "INV-1", "severity": "INFO", "kind": "STATUS_CHANGE"},
        "b": {"siteId": 1, "serialNumber": "INV-2", "severity": "CRITICAL", "kind": "STATUS_CHANGE"},
        "c": {"siteId": 2, "serialNumber": "INV-1", "severity": "CRITICAL", "kind": "ALARM_RAISED"},
    }
    async with gateway(notifications) as site, site.connect(**query) as live:
        for name, more in sent.items():
            await notifications.send(name, partition=ord(name) % PARTITIONS, **more)
        assert sorted(ids(await take(live, len(wanted)))) == wanted
        assert await nothing_more(live)
    # With a ring of one, the others are in Kafka only.
    for capacity in (1, 100):
        async with gateway(notifications, capacity=capacity) as site, site.connect(encode_feed([0] * PARTITIONS), **query) as stream:
            assert sorted(ids(await take(stream, len(wanted)))) == wanted
            assert await nothing_more(stream)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"site": "x"}, "site"),
        ({"severity": "LOUD"}, "severity"),
        ({"kind": "alarm"}, "kind"),
        ({"device": "INV-1,no such"}, "device"),
        ({"heartbeat": "0"}, "heartbeat"),
        ({"heartbeat": "often"}, "heartbeat"),
    ],
)
async def test_a_bad_filter_is_a_400_that_names_it(notifications: Notifications, query: dict[str, str], named: str) -> None:
    async with gateway(notifications) as site, site.client.get("/ws/notifications", params=query) as response:
        assert response.status == 400
        assert (await response.json())["parameter"] == named


async def test_a_heartbeat_moves_the_cursor_past_what_was_not_wanted(notifications: Notifications) -> None:
    async with gateway(notifications) as site, site.connect(heartbeat="1", site="7") as stream:
        for number in range(9):
            await notifications.send(str(number), partition=number % PARTITIONS, siteId=1)
        async with asyncio.timeout(10):
            message = await stream.receive_json()
            while decode_feed(message["cursor"]) != (3, 3, 3):
                message = await stream.receive_json()
        assert set(message) == {"cursor", "heartbeat"}
        async with site.connect(message["cursor"]) as resumed:
            assert await nothing_more(resumed)


async def send_in_turn(notifications: Notifications, count: int) -> None:
    for number in range(count):
        await notifications.send(str(number), partition=number % PARTITIONS)


async def until_the_ring_has_moved_on(site: Site, sending: "asyncio.Future[None]") -> None:
    """Until nothing of what the ring holds now is held any more, or nothing more comes."""
    assert site.feed.ring is not None
    end = site.feed.ring.end
    async with asyncio.timeout(20):
        while site.feed.ring.start < end and not sending.done():
            await asyncio.sleep(0.02)


async def send_many(notifications: Notifications, count: int, filler: str) -> None:
    for number in range(count):
        value = json.dumps({"notificationId": str(number), "message": filler}).encode()
        await notifications.producer.send(notifications.topic, value, partition=0)
    await notifications.producer.flush()


def open_and_never_read(port: int) -> socket.socket:
    """A WebSocket client that asks for the upgrade and then never reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    connection.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /ws/notifications HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return connection


def read_close_code(connection: socket.socket, after_s: float) -> int | None:
    """Waits, then reads all frames that are there up to the close frame."""
    time.sleep(after_s)
    connection.settimeout(5)
    with connection, connection.makefile("rb") as stream:
        while stream.readline() not in (b"\r\n", b""):
            pass
        while head := stream.read(2):
            length = head[1] & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", stream.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", stream.read(8))
            payload = stream.read(length)
            if head[0] & 0x0F == 8:
                return int.from_bytes(payload[:2], "big")
    return None

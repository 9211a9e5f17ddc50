"""Whether the ingress may say that it has all that MQTT had for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mqtt5
import pytest

from ems_streams.mqtt.adapter import SETTLING_S, MqttSubscriber
from ems_streams.mqtt.connection import Connection, _Pongs
from ems_streams.mqtt.endpoint import Endpoint, Login
from ems_streams.mqtt.inbox import MqttBatch
from ems_streams.settings import Settings

WITHIN_S = 0.05


class Broker:
    """Stands in for a connection: answers pings, or not."""

    def __init__(self, before_answer: Callable[[], None] = lambda: None, *, answers: bool = True) -> None:
        self._before_answer = before_answer
        self._answers = answers

    async def ping(self) -> None:
        self._before_answer()
        if not self._answers:
            await asyncio.Event().wait()

    def acknowledge(self, packet_ids: list[int]) -> None:
        """Nobody looks."""

    async def drain(self) -> None:
        """Nothing waits."""


def publish(packet_id: int) -> Any:
    return mqtt5.PublishPacket("sites/1/devices/A/telemetry", payload=b"1", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id)


def connected(broker: Broker, age_s: float = 2 * SETTLING_S) -> MqttSubscriber:
    subscriber = MqttSubscriber(Settings(mqtt_receive_max=3))
    subscriber._connection = broker  # type: ignore[assignment]  # as much of it as is used
    subscriber._subscribed = True
    subscriber._subscribed_s = asyncio.get_running_loop().time() - age_s
    return subscriber


async def handle(subscriber: MqttSubscriber) -> MqttBatch:
    batch = subscriber._inbox.take(10, 1000)
    await subscriber.acknowledge(batch)
    return batch


async def test_with_nothing_to_do_it_is() -> None:
    assert await connected(Broker()).in_step(WITHIN_S)


async def test_without_a_connection_or_shortly_after_it_was_made_it_is_not() -> None:
    assert not await MqttSubscriber(Settings()).in_step(WITHIN_S)
    assert not await connected(Broker(), age_s=SETTLING_S - 1).in_step(WITHIN_S)


async def test_a_broker_that_does_not_answer_is_not_alive() -> None:
    assert not await connected(Broker(answers=False)).in_step(WITHIN_S)


async def test_what_came_before_the_answer_has_to_be_handled() -> None:
    subscriber = connected(Broker())
    subscriber._receive(publish(1))
    assert not await subscriber.in_step(WITHIN_S)
    asked = asyncio.create_task(subscriber.in_step(10))
    await asyncio.sleep(WITHIN_S)
    assert not asked.done()
    await handle(subscriber)
    assert await asked


async def test_what_comes_with_the_answer_counts_and_what_comes_later_does_not() -> None:
    numbers = iter((1, 2))
    subscriber = connected(Broker(lambda: subscriber._receive(publish(next(numbers)))))
    asked = asyncio.create_task(subscriber.in_step(10))
    await asyncio.sleep(0)
    await handle(subscriber)
    subscriber._receive(publish(3))
    assert await asked


async def test_a_broker_that_may_be_holding_back_is_not_caught_up_with() -> None:
    """As many are under way as it may send at once."""
    subscriber = connected(Broker())
    for packet_id in (1, 2, 3):
        subscriber._receive(publish(packet_id))
    asked = asyncio.create_task(subscriber.in_step(10))
    await asyncio.sleep(0)
    await handle(subscriber)
    assert not await asked


async def test_a_new_connection_meanwhile_makes_it_void() -> None:
    subscriber = connected(Broker())
    subscriber._receive(publish(1))
    asked = asyncio.create_task(subscriber.in_step(10))
    await asyncio.sleep(0)
    await handle(subscriber)
    subscriber._connection = Broker()  # type: ignore[assignment]
    assert not await asked


async def test_answers_to_pings_come_in_the_order_of_the_pings() -> None:
    pongs = _Pongs()
    first, second, third = pongs.expect(), pongs.expect(), pongs.expect()
    second.cancel()
    answers = [mqtt5.PingRespPacket() for _ in range(4)]
    for answer in answers:
        pongs.set_result(answer)
    assert first.result() is answers[0]
    assert third.result() is answers[2]


@pytest.mark.parametrize("method", [Connection.ping, Connection._pingreq])
async def test_a_ping_is_on_the_wire_and_waits_for_its_own_answer(method: Callable[[Connection], Awaitable[Any]]) -> None:
    wire: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x03\x00\x00\x00")
        wire.append(await reader.read(100))
        writer.write(b"\xd0\x00")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection(
        Endpoint("127.0.0.1", port, tls=False), Login(None, None), "c", clean_start=False, session_expiry_s=60, keep_alive_s=0
    )
    await connection.open(5)
    async with asyncio.timeout(5):
        await method(connection)
    assert wire == [b"\xc0\x00"]
    await connection.close()
    server.close()

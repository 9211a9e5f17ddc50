"""QoS 2 step by step with the real broker: a sender that dies between two steps, and one that goes on where it was."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.mqtt.exact_session import AnswerKind, ExactMessage, ExactSession
from ems_streams.settings import Settings
from tests.support.command_device import CommandDevice

pytestmark = pytest.mark.integration

PACKET_ID = 7


class Sender:
    """A session, and the steps of one message on it."""

    def __init__(self, stack: EmbeddedStack, client_id: str, topic: str, *, clean: bool = False) -> None:
        self.changed = asyncio.Event()
        settings = Settings.load(mqtt_url=stack.mqtt_url)
        self.session = ExactSession(settings, client_id, clean_start=lambda: clean, on_change=self.changed.set)
        self.message = ExactMessage(topic, b'{"commandId":"c1"}', 60, f"{topic}/ack", b"c1")

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def connected(self) -> bool:
        """Wait for a connection; whether the broker had the session."""
        await self.until(lambda: self.session.connected)
        return self.session.session_present

    async def heard(self, kind: AnswerKind) -> None:
        """Wait for an answer, which must be this one."""
        await self.until(lambda: bool(self.session.answers))
        answer = self.session.answers.popleft()
        assert (answer.packet_id, answer.kind) == (PACKET_ID, kind), answer

    def publish(self, *, again: bool = False) -> None:
        assert self.session.publish(self.session.number, PACKET_ID, self.message, again=again)

    def release(self) -> None:
        assert self.session.release(self.session.number, PACKET_ID)

    def die(self) -> None:
        """As a process that is killed: no DISCONNECT."""
        connection = self.session._connection
        assert connection is not None
        connection._writer.transport.abort()


@asynccontextmanager
async def sending(stack: EmbeddedStack, client_id: str, topic: str, *, clean: bool = False) -> AsyncIterator[Sender]:
    sender = Sender(stack, client_id, topic, clean=clean)
    async with sender.session:
        yield sender


@pytest.fixture
async def device(stack: EmbeddedStack) -> AsyncIterator[CommandDevice]:
    name = uuid.uuid4().hex[:8]
    made = CommandDevice(stack.mqtt_url, f"sites/1/devices/{name}/commands", f"device-{name}")
    await made.connect()
    yield made
    await made.disconnect()


@pytest.mark.parametrize("died", ["before PUBLISH", "after PUBLISH", "after PUBREC", "after PUBREL", "after PUBCOMP"])
async def test_whoever_goes_on_with_the_session_sends_neither_less_nor_more_than_one(
    stack: EmbeddedStack, device: CommandDevice, died: str
) -> None:
    client_id = f"commands-{uuid.uuid4().hex[:8]}"
    async with sending(stack, client_id, device.topic) as first:
        await first.connected()
        if died != "before PUBLISH":
            first.publish()
        if died in {"after PUBREC", "after PUBREL", "after PUBCOMP"}:
            await first.heard(AnswerKind.RECEIVED)
        if died in {"after PUBREL", "after PUBCOMP"}:
            first.release()
        if died == "after PUBCOMP":
            await first.heard(AnswerKind.COMPLETED)
        # What is written reaches the broker before the end of the connection does.
        await asyncio.sleep(0.05)
        first.die()
    async with sending(stack, client_id, device.topic) as second:
        assert await second.connected(), "the broker has the session"
        if died in {"before PUBLISH", "after PUBLISH"}:
            second.publish(again=True)
            await second.heard(AnswerKind.RECEIVED)
        second.release()
        await second.heard(AnswerKind.COMPLETED)
        await device.wait_for(1)
        await asyncio.sleep(0.2)
        assert device.ids == ["c1"]
        [packet] = device.received
        assert (packet.response_topic, packet.correlation_data) == (f"{device.topic}/ack", b"c1")
        assert 0 < (packet.message_expiry_interval or 0) <= 60


async def test_who_connects_with_the_id_of_a_session_cuts_off_who_had_it(stack: EmbeddedStack, device: CommandDevice) -> None:
    client_id = f"commands-{uuid.uuid4().hex[:8]}"
    async with sending(stack, client_id, device.topic) as first:
        await first.connected()
        number = first.session.number
        async with sending(stack, client_id, device.topic) as second:
            await second.connected()
            await first.until(lambda: first.session.number != number)
            assert not first.session.publish(number, PACKET_ID, first.message, again=False), "nothing goes out on a connection that is gone"
    assert device.ids == []


@pytest.mark.parametrize("step", ["PUBLISH", "PUBREC"])
async def test_a_broker_that_was_killed_says_that_it_has_lost_the_session(stack: EmbeddedStack, device: CommandDevice, step: str) -> None:
    """So whoever is in doubt knows it, and does not send again."""
    client_id = f"commands-{uuid.uuid4().hex[:8]}"
    async with sending(stack, client_id, device.topic) as sender:
        await sender.connected()
        sender.publish()
        if step == "PUBREC":
            await sender.heard(AnswerKind.RECEIVED)
        await device.disconnect()
        number = sender.session.number
        await stack.mqtt.kill()
        await stack.mqtt.start()
        await sender.until(lambda: sender.session.connected and sender.session.number > number, 40)
        assert not sender.session.session_present


async def test_a_clean_start_forgets_what_the_broker_kept_of_packet_ids(stack: EmbeddedStack, device: CommandDevice) -> None:
    """Otherwise a new message with an old id would be taken for the old one, and be lost."""
    client_id = f"commands-{uuid.uuid4().hex[:8]}"
    async with sending(stack, client_id, device.topic) as first:
        await first.connected()
        first.publish()
        await first.heard(AnswerKind.RECEIVED)
        first.die()
    async with sending(stack, client_id, device.topic, clean=True) as second:
        assert not await second.connected()
        second.publish()
        await second.heard(AnswerKind.RECEIVED)
        await device.wait_for(2)

"""What is written, and what is known not to have been."""

import asyncio
from typing import cast

import mqtt5
import pytest

from ems_streams.mqtt import exact_session, reconnecting
from ems_streams.mqtt.connection import Connection
from ems_streams.mqtt.exact_session import ExactMessage, ExactSession
from ems_streams.settings import Settings

MESSAGE = ExactMessage("sites/7/devices/A/commands", b"{}", 60, "sites/7/devices/A/commands/ack", b"A~1")


class Line:
    """A connection that may be about to close."""

    def __init__(self) -> None:
        self.closing = False
        self.written: list[bytes] = []

    def write(self, data: bytes) -> bool:
        if not self.closing:
            self.written.append(data)
        return not self.closing

    def abort(self) -> None:
        self.closing = True


def connected() -> tuple[ExactSession, Line]:
    session = ExactSession(Settings(), "c", clean_start=lambda: True, on_change=lambda: None)
    line = Line()
    session._connection, session.number = cast("Connection", line), 1
    return session, line


def test_a_packet_is_written_on_the_connection_that_the_caller_knows_of_or_not_at_all() -> None:
    session, line = connected()
    assert session.publish(1, 5, MESSAGE, again=False)
    assert not session.publish(2, 6, MESSAGE, again=False)
    assert len(line.written) == 1


def test_what_a_closing_connection_does_not_take_is_not_called_written() -> None:
    """Otherwise there would be a doubt about it for as long as it lives."""
    session, line = connected()
    line.closing = True
    assert not session.publish(1, 5, MESSAGE, again=False)
    assert not session.release(1, 5)


def test_a_connection_that_is_given_up_takes_nothing_more() -> None:
    session, line = connected()
    session.renew()
    session.renew()
    assert line.closing
    assert not session.connected
    assert not session.publish(1, 5, MESSAGE, again=False)


async def test_a_broker_that_is_back_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the tenth failure in a row the pause would be nearly a minute without a limit, and what waits would expire meanwhile."""
    tries = 0

    async def refused(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError

    monkeypatch.setattr(exact_session, "RECONNECT_MAX_S", 0.02)
    monkeypatch.setattr(Connection, "open", refused)
    async with ExactSession(Settings(), "c", clean_start=lambda: True, on_change=lambda: None) as session:
        async with asyncio.timeout(3):
            while tries < 10:
                await asyncio.sleep(0.01)
        assert not session.connected
        assert session.state.startswith("cannot connect: ConnectionRefusedError")


async def test_a_lost_session_is_not_hidden_by_the_connection_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was told of the loss has made a new session by that; whoever has not taken note must still hear of it."""
    present = iter([True, False, True, True])
    told: list[bool] = []

    async def opened(connection: Connection, _: float) -> None:
        connection.session_present = next(present)

    async def lost(_: Connection) -> str:
        told.append(session.session_present)
        if len(told) == 3:
            session.resumed(session.number)
        if len(told) == 4:
            await asyncio.Event().wait()
        return "cut off"

    monkeypatch.setattr(reconnecting, "SHORT_LIFE_S", 0.0)
    monkeypatch.setattr(Connection, "open", opened)
    monkeypatch.setattr(Connection, "lost", lost)
    async with ExactSession(Settings(), "c", clean_start=lambda: False, on_change=lambda: None) as session:
        async with asyncio.timeout(3):
            while len(told) < 4:
                await asyncio.sleep(0.01)
    assert told == [True, False, False, True]


@pytest.mark.parametrize(
    ("second", "lost"),
    [(None, True), (mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.SERVER_BUSY), False)],
    ids=["no answer", "refused"],
)
async def test_a_connect_without_an_answer_may_have_made_a_new_session(
    monkeypatch: pytest.MonkeyPatch, second: mqtt5.ConnAckPacket | None, lost: bool
) -> None:
    """The broker had lost the old one, and nobody heard it say so: to the next connect it says that there is a session."""
    present = mqtt5.ConnAckPacket(session_present=True)
    greetings = iter([present, second, present, present])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        greeting = next(greetings)
        if greeting is not None:
            writer.write(greeting.write())
        if greeting is present:
            await reader.read()
        writer.close()

    async def told(number: int) -> bool:
        async with asyncio.timeout(5):
            while not (session.connected and session.number == number):
                await asyncio.sleep(0.01)
        return session.session_present

    monkeypatch.setattr(reconnecting, "SHORT_LIFE_S", 0.0)
    monkeypatch.setattr(exact_session, "RECONNECT_MAX_S", 0.05)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = Settings.load(mqtt_url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, ExactSession(settings, "c", clean_start=lambda: False, on_change=lambda: None) as session:
        assert await told(1)
        session.resumed(1)
        session.renew()
        while not session.connected:
            # As a courier that goes on looking: this is of the connection that is gone, and says nothing of the next one.
            session.resumed(1)
            await asyncio.sleep(0.01)
        assert await told(2) is not lost
        session.resumed(2)
        session.renew()
        assert await told(3), "and no longer than until that is durable"

"""What the courier does next, step by step, with a broker and a Kafka that do as they are told."""

import asyncio
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mqtt5
import pytest

from agents.command_courier import Courier, Couriers, message_of
from agents.command_work import work_of
from agents.commands import fold_batch
from ems_streams.domain import commands_codec
from ems_streams.domain.command_events import CommandRequest
from ems_streams.domain.commands import Command, begin
from ems_streams.domain.events import CommandAck
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_COMMANDS
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.metrics import commands as metrics
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.mqtt.exact_session import AnswerKind, BrokerAnswer, ExactMessage
from ems_streams.settings import Settings
from tables.commands import command_of
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.command_builders import EXPIRES_IN_MS, request


class Session:
    """In place of `ExactSession`."""

    def __init__(self) -> None:
        self.number, self.connected, self.session_present, self.room = 0, False, False, 65_535
        self.answers: deque[BrokerAnswer] = deque()
        self.sent: list[tuple[str, int, bool]] = []
        self.open = True
        self.renewed = 0
        self.lost = False

    def connect(self, *, session_present: bool) -> None:
        self.number += 1
        self.lost = self.lost or not session_present
        self.connected, self.session_present = True, not self.lost

    def resumed(self, number: int) -> None:
        if number == self.number:
            self.lost = False

    def publish(self, number: int, packet_id: int, message: ExactMessage, *, again: bool) -> bool:
        return self._sent(number, "PUBLISH", packet_id, again)

    def release(self, number: int, packet_id: int) -> bool:
        return self._sent(number, "PUBREL", packet_id, False)

    def renew(self) -> None:
        self.renewed += 1
        self.connected = False

    def _sent(self, number: int, what: str, packet_id: int, again: bool) -> bool:
        if not (self.connected and self.open and number == self.number):
            return False
        self.sent.append((what, packet_id, again))
        return True

    def answer(self, packet_id: int, kind: AnswerKind, reason: str = "SUCCESS") -> None:
        self.answers.append(BrokerAnswer(packet_id, kind, reason))


class Site:
    """A partition, its courier and a clock."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(data_dir=directory)
        self.table = StateTable(WorkerApp(self.settings), "states", Codec(commands_codec.encode, commands_codec.decode), 1)
        self.now_ms = NOON_MS
        self.offsets: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """The next owner of the partition, with what is durable."""
        self.partition = opened(self.table, Writer())
        self.session = Session()
        self.courier = Courier(self.partition, self.settings, "c", broker_of(self.settings), lambda: self.now_ms)
        self.courier.session = self.session  # type: ignore[assignment]  # as much of it as is used

    def step(self) -> list[tuple[str, int, bool]]:
        """One step; what went out by it."""
        before = len(self.session.sent)
        asyncio.run(self.courier._step())
        return self.session.sent[before:]

    def fold(self, topic: str, key: bytes, value: bytes) -> None:
        offset = self.offsets.get(topic, 0)
        self.offsets[topic] = offset + 1
        fold_part(fold_batch, RecordBatch(topic, 0, [Stored(offset, NOON_MS, key, value)], 0), 0, self.partition)

    def ask(self, key: str = "k1", **changes: Any) -> CommandRequest:
        asked = request(key, **changes)
        self.fold(DEVICE_COMMANDS, asked.key, asked.encode())
        return asked

    def device_says(self, asked: CommandRequest, result: str) -> None:
        ack = CommandAck(
            command_id=asked.command_id, device_id=1, serial_number=asked.serial_number, site_id=7, device_type="X",
            result=result, timestamp=from_epoch_ms(NOON_MS),  # type: ignore[arg-type]  # one of them
        )  # fmt: skip
        self.fold(DEVICE_COMMAND_ACKS, asked.key, ack.encode())

    def command(self, asked: CommandRequest) -> Command:
        command = command_of(self.partition, asked.command_id)
        assert command is not None
        return command

    def delivery(self, asked: CommandRequest) -> str:
        return self.command(asked).delivery.name


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def test_each_packet_waits_for_the_answer_before_it(site: Site) -> None:
    asked = site.ask()
    assert site.step() == [], "no connection"
    site.session.connect(session_present=False)
    assert site.step() == [("PUBLISH", 1, False)]
    assert site.step() == []
    site.session.answer(1, AnswerKind.COMPLETED)
    assert site.step() == [], "an answer that is not its turn"
    site.session.answer(1, AnswerKind.RECEIVED)
    site.session.answer(1, AnswerKind.RECEIVED)
    site.session.answer(9, AnswerKind.RECEIVED)
    assert set(site.step()) == {("PUBREL", 1, False)}
    site.session.answer(1, AnswerKind.COMPLETED)
    site.session.answer(1, AnswerKind.COMPLETED)
    site.session.answer(1, AnswerKind.RECEIVED)
    assert site.step() == []
    assert (site.delivery(asked), site.command(asked).status, site.command(asked).packet_id) == ("DONE", "DELIVERED", 0)
    assert not work_of(site.partition).flows


def test_gauges_say_how_many_sessions_there_are_and_how_far_open_commands_are(site: Site) -> None:
    couriers = Couriers(site.settings)
    couriers._running = {0: site.courier}
    site.ask()
    site.ask("k2")
    couriers.show()
    assert gauges() == {"sessions": 1, "connected": 0, "requested": 2, "published": 0, "delivered": 0, "accepted": 0}
    site.session.connect(session_present=False)
    before = metrics.DELIVERIES.labels("taken")._value.get()
    site.step()
    couriers.show()
    assert gauges() == {"sessions": 1, "connected": 1, "requested": 1, "published": 1, "delivered": 0, "accepted": 0}
    site.session.answer(1, AnswerKind.RECEIVED)
    site.step()
    site.session.answer(1, AnswerKind.COMPLETED)
    site.step()
    couriers.show()
    assert gauges() == {"sessions": 1, "connected": 1, "requested": 1, "published": 0, "delivered": 1, "accepted": 0}
    assert metrics.DELIVERIES.labels("taken")._value.get() == before + 1


def test_a_command_in_doubt_does_not_wait_for_the_broker(site: Site) -> None:
    """Otherwise it would look, until it expires, as if the broker took commands and never said so."""
    couriers = Couriers(site.settings)
    couriers._running = {0: site.courier}
    asked = site.ask()
    site.session.connect(session_present=False)
    site.step()
    site.session.connect(session_present=False)
    site.step()
    couriers.show()
    assert (site.delivery(asked), site.command(asked).status) == ("UNKNOWN", "PUBLISHED")
    assert gauges() == {"sessions": 1, "connected": 1, "requested": 0, "published": 0, "delivered": 1, "accepted": 0}


def gauges() -> dict[str, float]:
    states = {sample.labels["state"]: sample.value for family in metrics.OPEN.collect() for sample in family.samples}
    return {"sessions": metrics.SESSIONS._value.get(), "connected": metrics.SESSIONS_CONNECTED._value.get(), **states}


@pytest.mark.parametrize("session_present", [True, False])
def test_a_rollback_that_undoes_letting_go_never_makes_a_second_sending(site: Site, session_present: bool) -> None:
    """The doubt is noted, and the note is lost with a rollback before it is durable: it is still a doubt."""
    asked = site.ask()
    site.session.connect(session_present=False)
    assert site.step() == [("PUBLISH", 1, False)]
    commit = site.partition.commit

    async def rolled_back() -> None:
        site.partition.rollback()

    site.partition.commit = rolled_back  # type: ignore[method-assign]  # another record could not be folded just then
    site.session.connect(session_present=False)
    site.step()
    site.partition.commit = commit  # type: ignore[method-assign]  # and is put aside
    assert site.delivery(asked) == "PUBLISHING"
    site.step()
    assert site.session.renewed == 1
    site.session.connect(session_present=session_present)
    sent = [packet for _ in range(3) for packet in site.step()]
    assert [what for what, _, _ in sent] == ["PUBREL"]
    assert site.delivery(asked) == "UNKNOWN"


def test_a_rollback_that_undoes_an_answer_of_the_broker_does_not_leave_the_exchange_unfinished(site: Site) -> None:
    asked = site.ask()
    site.session.connect(session_present=False)
    site.step()
    commit = site.partition.commit

    async def rolled_back() -> None:
        site.partition.rollback()

    site.partition.commit = rolled_back  # type: ignore[method-assign]  # see above
    site.session.answer(1, AnswerKind.RECEIVED)
    assert site.step() == []
    site.partition.commit = commit  # type: ignore[method-assign]  # see above
    site.step()
    assert site.session.renewed == 1, "only on a new connection may it be asked again"
    site.session.connect(session_present=True)
    assert site.step() == [("PUBLISH", 1, True)]
    site.session.answer(1, AnswerKind.RECEIVED)
    assert site.step() == [("PUBREL", 1, False)]
    site.session.answer(1, AnswerKind.COMPLETED)
    site.step()
    assert site.delivery(asked) == "DONE"


def test_what_a_device_has_answered_is_not_sent_to_it_again(site: Site) -> None:
    """Whatever the broker says of its session: a snapshot of it may be older than the command."""
    asked = site.ask()
    site.session.connect(session_present=False)
    site.step()
    site.device_says(asked, "ACCEPTED")
    site.step()
    site.start()
    site.session.connect(session_present=True)
    assert site.step() == [("PUBREL", 1, False)]
    assert (site.delivery(asked), site.command(asked).status) == ("UNKNOWN", "ACCEPTED")


def test_the_broker_lets_go_of_a_packet_id_only_when_that_is_durable(site: Site) -> None:
    """Otherwise whoever has not heard of the device's answer, and goes on from what is durable, sends with an id that the broker takes for a new one."""
    asked = site.ask()
    site.session.connect(session_present=False)
    site.step()
    commit = site.partition.commit

    async def rolled_back() -> None:
        site.partition.rollback()

    site.partition.commit = rolled_back  # type: ignore[method-assign]  # another record could not be folded just then
    site.device_says(asked, "ACCEPTED")
    site.session.connect(session_present=True)
    assert site.step() == []
    site.partition.commit = commit  # type: ignore[method-assign]  # and is put aside
    site.step()
    site.session.connect(session_present=True)
    assert site.step() == [("PUBLISH", 1, True)], "the answer is not known any more, and the broker still has the id"


def test_what_could_not_be_written_is_no_doubt(site: Site) -> None:
    asked = site.ask()
    site.session.connect(session_present=False)
    site.session.open = False
    assert site.step() == []
    site.session.open = True
    site.session.connect(session_present=False)
    assert site.step() == [("PUBLISH", 1, False)]
    assert site.delivery(asked) == "PUBLISHING"


@pytest.mark.parametrize(("left_ms", "sent"), [(1001, True), (1000, True), (999, False), (0, False), (-1, False)])
def test_nothing_is_sent_in_the_last_second(site: Site, left_ms: int, sent: bool) -> None:
    asked = site.ask()
    site.session.connect(session_present=False)
    site.now_ms = NOON_MS + EXPIRES_IN_MS - left_ms
    assert bool(site.step()) is sent
    assert site.command(asked).status == ("PUBLISHED" if sent else "REQUESTED" if left_ms > 0 else "EXPIRED")


def test_the_next_goes_out_in_the_step_after_the_end_of_the_one_before(site: Site) -> None:
    first, second, third = site.ask("k1"), site.ask("k2"), site.ask("k3")
    site.session.connect(session_present=False)
    assert site.step() == [("PUBLISH", 1, False)]
    site.device_says(first, "COMPLETED")
    assert site.step() == [("PUBLISH", 2, False)], "also while the broker is not done with the first"
    site.device_says(second, "REJECTED")
    assert site.step() == [("PUBLISH", 3, False)]
    assert site.command(third).status == "PUBLISHED"


def test_all_that_waits_behind_a_lost_connection_goes_out_on_the_next_one(site: Site) -> None:
    asked = [site.ask(serial_number=f"S-{number}") for number in range(500)]
    for _ in range(3):
        site.step()
    site.session.connect(session_present=False)
    sent = [packet for _ in range(4) for packet in site.step()]
    assert len(sent) == len(asked)


def test_what_is_refused_blocks_no_other_device_and_is_tried_again(site: Site) -> None:
    refused, other = site.ask(serial_number="S-1"), site.ask(serial_number="S-2")
    site.session.connect(session_present=False)
    assert len(site.step()) == 2
    site.session.answer(site.command(refused).packet_id, AnswerKind.REFUSED, "QUOTA_EXCEEDED")
    assert site.step() == []
    site.now_ms += 2000
    assert [what for what, _, _ in site.step()] == ["PUBLISH"]
    assert (site.command(refused).attempts, site.command(other).attempts) == (2, 1)


def test_an_expiry_that_no_packet_can_carry_is_not_the_end_of_the_worker() -> None:
    """As by somebody whose clock is in another century."""
    asked = request(requested_at=from_epoch_ms(NOON_MS + 10**13), expires_at=from_epoch_ms(NOON_MS + 10**13 + 60_000))
    message = message_of(begin(asked)[0], NOON_MS)
    assert mqtt5.PublishPacket(message.topic, message.payload, message_expiry_interval=message.expiry_s).write()


def test_a_session_that_was_lost_stays_lost_until_that_is_durable(site: Site) -> None:
    """A connection that is gone at once has made a new session, and the next one is told that there is one."""
    asked = site.ask()
    site.session.connect(session_present=False)
    assert site.step() == [("PUBLISH", 1, False)]
    site.session.connect(session_present=False)
    site.session.connect(session_present=True)
    assert [what for what, _, _ in site.step()] == ["PUBREL"]
    assert site.delivery(asked) == "UNKNOWN"
    later = site.ask(serial_number="S-2")
    site.step()
    site.session.connect(session_present=True)
    assert [(what, again) for what, _, again in site.step()] == [("PUBLISH", True)], "and no longer"
    assert site.delivery(later) == "PUBLISHING"

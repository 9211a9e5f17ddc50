"""What brings the commands of a partition to the MQTT broker, for as long as the partition is this worker's.

Every step is durable before the packet that follows from it goes out: the packet id before PUBLISH, PUBREC before PUBREL, PUBCOMP before the id is used again. The
states go through the partition like those of folds, in the transactions of its one writer. So whoever has the partition next goes on at the very step, and one who
has lost it cannot begin any: that would need a commit. docs/decisions/0010-commands.md says why this suffices.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from agents.command_meters import OPEN_STATES, count_delivery
from agents.command_work import Work, changed, open_flows, work_of
from ems_streams.domain.command_table import CommandInput, CommandStatus
from ems_streams.domain.commands import Command, Delivery, handed_over, happen, lost_sight_of, refused, taken
from ems_streams.domain.commands_codec import CommandRecord
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.metrics import commands as metrics
from ems_streams.mqtt.endpoint import Endpoint, Login, broker_of
from ems_streams.mqtt.exact_session import LAST_PACKET_ID, AnswerKind, BrokerAnswer, ExactMessage, ExactSession
from ems_streams.settings import Settings
from tables.commands import CONNECTION_KEY, command_of, connections_of, queue_of

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
"""How often time alone is looked at."""
GATHER_S: Final = 0.005
"""What happens within this time goes into one transaction."""
IN_FLIGHT_MAX: Final = 1000
BEGUN_AT_ONCE: Final = 200
"""So many commands take some hundredths of a second."""
EXPIRY_MAX_S: Final = 2**32 - 1
_NEVER_SENT: Final = "it could not be sent in time"
_ANSWERED: Final = "the device has answered already, so it has the command"
_TIME_OVER: Final = "its time was over before the exchange with the MQTT broker could be gone on with"


class _Packet(NamedTuple):
    """What goes out once the step behind it is durable."""

    packet_id: int
    command_id: str
    step: Delivery


class Courier:
    """Of one partition.

    Args:
        partition: Its commands.
        settings: Where the MQTT broker is.
        client_id: Of the session that belongs to the partition, and to nobody else.
        broker: As `broker_of` gives it.
        now_ms: Wall clock; decides when something is sent or is too late, never what an answer means.
    """

    def __init__(
        self,
        partition: PartitionState[CommandRecord],
        settings: Settings,
        client_id: str,
        broker: tuple[Endpoint, Login],
        now_ms: Callable[[], int],
    ) -> None:
        self._partition = partition
        self._now_ms = now_ms
        self._wake = asyncio.Event()
        self.session = ExactSession(settings, client_id, clean_start=self._nothing_under_way, on_change=self._wake.set, broker=broker)
        self._begun = False
        self._number = 0
        self._last_id = 0
        # What an owner before us may have written, and what we have.
        self._written = {packet_id for packet_id, _ in open_flows(partition)}
        self._repeated = set(self._written)
        self._too_late: set[int] = set()

    @property
    def open(self) -> Counter[CommandStatus]:
        """How many commands of the partition have no end yet, by how far they are."""
        return Counter(work_of(self._partition).open.values())

    async def run(self) -> None:
        """Work until cancelled; raises `CommitError` when the partition is lost."""
        async with self.session:
            while not self._partition.abandoned:
                with suppress(TimeoutError):
                    # Not `wait_for`: up to Python 3.11 it swallows a cancellation that comes together with what it waits for.
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._wake.wait()
                await asyncio.sleep(GATHER_S)
                self._wake.clear()
                await self._step()

    def _nothing_under_way(self) -> bool:
        # What a session of long ago may still hold of packet ids must not be taken for ours.
        return not work_of(self._partition).flows

    async def _step(self) -> None:
        """Take in what has happened, decide what follows, make it durable, and only then send it."""
        work = self._work()
        packets = [packet for answer in self._answers() if (packet := self._heard(work, answer)) is not None]
        self._take_back(work)
        if self.session.connected and self.session.number != self._number:
            packets = self._resume(work)
        self._look_at_time(work)
        packets += self._begin(work)
        await self._partition.commit()
        # After a rollback in between the commit has proved nothing.
        if not self._partition.abandoned and work is work_of(self._partition):
            self.session.resumed(self._number)
            self._send(packets)

    def _work(self) -> Work:
        work = work_of(self._partition)
        if work.changed is not self._wake:
            work.changed = self._wake
            if self._begun:
                self._after_rollback(work)
            self._begun = True
        return work

    def _after_rollback(self, work: Work) -> None:
        """Steps of ours may be undone of which the broker knows, and of whose answers nothing is left: on a new connection it is asked again.

        What was let go of in such a step may have been sent before, so all counts as written: in doubt it is not sent again.
        """
        self._written |= work.flows.keys()
        self._repeated |= work.flows.keys()
        self._too_late.clear()
        self._number = 0
        self.session.renew()

    def _answers(self) -> Iterable[BrokerAnswer]:
        while self.session.answers:
            yield self.session.answers.popleft()

    def _heard(self, work: Work, answer: BrokerAnswer) -> _Packet | None:
        """What an answer of the broker makes of the command that it is about, and what has to be sent."""
        command_id = work.flows.get(answer.packet_id)
        command = None if command_id is None else command_of(self._partition, command_id)
        if command is None or command.packet_id != answer.packet_id:
            return None
        now_ms = self._now_ms()
        if answer.kind is AnswerKind.RECEIVED:
            if command.delivery is Delivery.PUBLISHING:
                command.delivery = Delivery.RECEIVED
                changed(self._partition, command)
            return _Packet(answer.packet_id, command.request.command_id, Delivery.RECEIVED)
        if answer.kind is AnswerKind.COMPLETED and command.delivery is not Delivery.RECEIVED:
            return None
        repeated = answer.packet_id in self._repeated
        self._let_go(work, answer.packet_id)
        if answer.kind is AnswerKind.COMPLETED:
            count_delivery("taken")
            changed(self._partition, command, taken(command, now_ms))
        elif repeated:
            # The broker may have it from before, and refuse the copy.
            why = f"the MQTT broker refused it when it was sent again ({answer.reason})"
            count_delivery("unknown")
            changed(self._partition, command, lost_sight_of(command, why, now_ms))
        else:
            count_delivery("refused")
            changed(self._partition, command, refused(command, answer.reason, now_ms))
        return None

    def _let_go(self, work: Work, packet_id: int) -> None:
        """The packet id is free."""
        del work.flows[packet_id]
        for ids in (self._written, self._repeated, self._too_late):
            ids.discard(packet_id)

    def _take_back(self, work: Work) -> None:
        """What was to be sent, and was not, because its time was over by the time that it could be."""
        for packet_id, command in list(open_flows(self._partition)) if self._too_late else ():
            if packet_id not in self._too_late:
                continue
            before = packet_id in self._written
            self._let_go(work, packet_id)
            if before:
                count_delivery("unknown")
                changed(self._partition, command, lost_sight_of(command, _TIME_OVER, self._now_ms()))
            else:
                # Never written, so it is certain that the broker does not have it.
                changed(self._partition, command, refused(command, "not sent: its time was over", self._now_ms()))
        self._too_late.clear()

    def _resume(self, work: Work) -> list[_Packet]:
        """There is a new connection: what has to be sent again on it.

        The count of connections is stored so that there is something to commit: before anything is sent again, that proves that the partition is still ours.
        """
        self._number = self.session.number
        self._partition.put(CONNECTION_KEY, connections_of(self._partition) + 1)
        packets = []
        for packet_id, command in list(open_flows(self._partition)):
            if packet_id not in self._written:
                packets.append(_Packet(packet_id, command.request.command_id, command.delivery))
                continue
            doubt = self._doubt(command)
            if doubt is None:
                self._repeated.add(packet_id)
                packets.append(_Packet(packet_id, command.request.command_id, command.delivery))
            else:
                self._let_go(work, packet_id)
                count_delivery("unknown")
                changed(self._partition, command, lost_sight_of(command, doubt, self._now_ms()))
                log.warning("command_delivery_unknown", command_id=command.request.command_id, reason=doubt)
                packets.append(_Packet(packet_id, command.request.command_id, Delivery.UNKNOWN))
        for serial_number in list(work.heads):
            work.look_at(serial_number)
        return packets

    def _doubt(self, command: Command) -> str | None:
        """Why the exchange about a command cannot be gone on with; None when it can."""
        if not self.session.session_present:
            return "the MQTT broker has lost the session"
        if command.delivery is Delivery.PUBLISHING and command.answered:
            return _ANSWERED
        if command.delivery is Delivery.PUBLISHING and command.too_late(self._now_ms()):
            return _TIME_OVER
        return None

    def _look_at_time(self, work: Work) -> None:
        """Give up what was not sent in time, and try again what the broker has refused."""
        now_ms = self._now_ms()
        while (key := work.waiting.pop(now_ms)) is not None:
            command = command_of(self._partition, key.decode())
            if command is None or command.status is not CommandStatus.REQUESTED:
                continue
            if command.expires_ms <= now_ms:
                changed(self._partition, command, happen(command, CommandInput.TIME, now_ms, _NEVER_SENT))
            else:
                work.waiting.put((key,), command.expires_ms)
                work.look_at(command.request.key)

    def _begin(self, work: Work) -> list[_Packet]:
        """Give packet ids to the commands whose turn it is."""
        packets: list[_Packet] = []
        if not self.session.connected or self.session.number != self._number:
            return packets
        now_ms = self._now_ms()
        room = min(self.session.room, IN_FLIGHT_MAX) - len(work.flows)
        for serial_number in list(work.heads):
            if len(packets) >= min(room, BEGUN_AT_ONCE):
                if len(packets) < room:
                    self._wake.set()
                break
            del work.heads[serial_number]
            queue = queue_of(self._partition, serial_number)
            command = command_of(self._partition, queue.open[0]) if queue.open else None
            if command is None or not command.may_be_sent(now_ms):
                continue
            event = handed_over(command, self._free_id(work), now_ms)
            changed(self._partition, command, event)
            packets.append(_Packet(command.packet_id, command.request.command_id, Delivery.PUBLISHING))
        return packets

    def _free_id(self, work: Work) -> int:
        while True:
            self._last_id = self._last_id % LAST_PACKET_ID + 1
            if self._last_id not in work.flows:
                return self._last_id

    def _send(self, packets: Iterable[_Packet]) -> None:
        """Send what is durable, as far as it still holds: a rollback may have come in between."""
        work, now_ms = work_of(self._partition), self._now_ms()
        for packet_id, command_id, step in packets:
            if step is Delivery.UNKNOWN:
                # If the broker has kept the id, it lets go of it: whoever repeats the command after that would make a second one of it.
                self.session.release(self._number, packet_id)
                continue
            command = command_of(self._partition, command_id)
            if command is None or command.packet_id != packet_id or command.delivery is not step or packet_id not in work.flows:
                continue
            if step is Delivery.RECEIVED:
                self.session.release(self._number, packet_id)
            elif command.too_late(now_ms):
                self._too_late.add(packet_id)
                self._wake.set()
            elif self.session.publish(self._number, packet_id, message_of(command, now_ms), again=packet_id in self._written):
                self._written.add(packet_id)


def message_of(command: Command, now_ms: int) -> ExactMessage:
    """What the broker is sent for a command."""
    request = command.request
    # Whoever asked may have another clock; more than this does not go into a packet.
    expiry_s = min(max(1, (command.expires_ms - now_ms) // 1000), EXPIRY_MAX_S)
    return ExactMessage(request.topic, request.payload(), expiry_s, request.answer_topic, request.command_id.encode())


class Couriers:
    """The couriers of a worker, one for each partition that it has.

    Args:
        settings: Where the MQTT broker is, and the application that the sessions belong to.
        now_ms: Wall clock.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._settings = settings
        # Files of certificates are read here, once: what is changed in them counts from the next start, and not in the middle of a rebalance.
        self._broker = broker_of(settings)
        self._now_ms = now_ms
        self._running: dict[int, Courier] = {}

    async def serve(self, partition: PartitionState[CommandRecord]) -> None:
        """Bring the commands of a partition to the broker until cancelled."""
        client_id = f"{self._settings.application_id}-commands-{partition.partition}"
        courier = Courier(partition, self._settings, client_id, self._broker, self._now_ms)
        self._running[partition.partition] = courier
        try:
            await courier.run()
        finally:
            if self._running.get(partition.partition) is courier:
                del self._running[partition.partition]

    def check(self) -> tuple[bool, str]:
        """Whether all couriers are connected, and one line about it; from memory."""
        sessions = [courier.session for courier in self._running.values()]
        away = [session for session in sessions if not session.connected]
        if not away:
            return True, f"{len(sessions)} couriers connected"
        return False, f"{len(away)} of {len(sessions)} couriers not connected; {away[0].endpoint}: {away[0].state}"

    def show(self) -> None:
        """Set the gauges of commands, from memory."""
        couriers = list(self._running.values())
        metrics.SESSIONS.set(len(couriers))
        metrics.SESSIONS_CONNECTED.set(sum(courier.session.connected for courier in couriers))
        waiting: Counter[CommandStatus] = sum((courier.open for courier in couriers), Counter())
        for status in OPEN_STATES:
            metrics.OPEN.labels(status.lower()).set(waiting[status])

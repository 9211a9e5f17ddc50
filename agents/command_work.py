"""What there is to be done for the commands of a partition, derived from its states: gone with them after a rollback, and derived anew."""

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from agents.command_meters import count_step
from ems_streams.domain.command_events import CommandEvent, of_step
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.commands import UNFINISHED, Command, Delivery
from ems_streams.domain.commands_codec import CommandRecord
from ems_streams.domain.due_index import DueIndex
from ems_streams.kafka.catalogue import DEVICE_COMMAND_EVENTS, DEVICE_NOTIFICATIONS
from ems_streams.kafka.partition_state import PartitionState
from tables.commands import command_key, command_of, devices_with_work, history_of, queue_key, queue_of

_NAME: Final = "command work"


class Work:
    """Of one partition.

    Attributes:
        heads: Devices whose first command may have become one that can be sent.
        flows: Packet ids that are in use, with the command that each is used for.
        waiting: Commands by the time at which the courier has to look at them: when they expire unsent, or may be tried again.
        answers: Commands by the time at which nobody waits for the device any more.
        open: Commands that have no end yet, and whose word each waits for: one that the broker may have or not, only for its device's.
        changed: Set when there is something for the courier.
    """

    def __init__(self, partition: PartitionState[CommandRecord]) -> None:
        self.heads: dict[bytes, None] = {}
        self.flows: dict[int, str] = {}
        self.waiting = DueIndex()
        self.answers = DueIndex()
        self.open: dict[str, CommandStatus] = {}
        self.changed = asyncio.Event()
        for serial_number in devices_with_work(partition):
            queue = queue_of(partition, serial_number)
            for command_id in (*queue.open, *queue.flows):
                command = command_of(partition, command_id)
                if command is not None:
                    self.note(command)
            self.heads[serial_number] = None

    def note(self, command: Command) -> None:
        """Know when a command has to be looked at again, and which packet id it uses."""
        key = command.request.command_id.encode()
        if command.final:
            self.open.pop(command.request.command_id, None)
        else:
            in_doubt = command.delivery is Delivery.UNKNOWN and command.status is CommandStatus.PUBLISHED
            self.open[command.request.command_id] = CommandStatus.DELIVERED if in_doubt else command.status
        if command.delivery in UNFINISHED:
            self.flows[command.packet_id] = command.request.command_id
        if command.status is CommandStatus.REQUESTED:
            self.waiting.put((key,), command.next_try_ms or command.expires_ms)
            self.changed.set()
        elif not command.final:
            self.answers.put((key,), command.deadline_ms)

    def look_at(self, serial_number: bytes) -> None:
        """The first command of a device may be another one now."""
        self.heads[serial_number] = None
        self.changed.set()


def work_of(partition: PartitionState[CommandRecord]) -> Work:
    """Of a partition, derived from its states when it is not there."""
    work = partition.derived.get(_NAME)
    if work is None:
        work = partition.derived[_NAME] = Work(partition)
    return work


def changed(partition: PartitionState[CommandRecord], command: Command, *events: CommandEvent | None) -> None:
    """Store a command that something has happened to, publish its steps, and see to what follows for its device."""
    key, command_id = command.request.key, command.request.command_id
    partition.put(command_key(command_id), command)
    for event in events:
        if event is not None:
            count_step(command, event)
            partition.publish(DEVICE_COMMAND_EVENTS, key, event.encode())
            partition.publish(DEVICE_NOTIFICATIONS, key, of_step(event).encode())
    work = work_of(partition)
    work.note(command)
    if command.final:
        _settle(partition, command, work)


def _settle(partition: PartitionState[CommandRecord], command: Command, work: Work) -> None:
    key = command.request.key
    queue = queue_of(partition, key)
    before = (len(queue.open), len(queue.flows))
    left = queue.settle(command)
    if before == (len(queue.open), len(queue.flows)):
        return
    if queue.idle:
        partition.delete(queue_key(key))
    else:
        partition.put(queue_key(key), queue)
    if left:
        work.look_at(key)
        history = history_of(partition, key)
        for forgotten in history.add(command.request.command_id, command.steps[-1].at_ms, queue.flows):
            partition.delete(command_key(forgotten))
        partition.put(key, history)


class Ref(NamedTuple):
    """A packet id in use, and the command that it is used for."""

    packet_id: int
    command: Command


def open_flows(partition: PartitionState[CommandRecord]) -> Iterator[Ref]:
    """The exchanges with the broker that are under way, by the numbers of their packets."""
    for packet_id, command_id in sorted(work_of(partition).flows.items()):
        command = command_of(partition, command_id)
        if command is not None and command.delivery in UNFINISHED and command.packet_id == packet_id:
            yield Ref(packet_id, command)

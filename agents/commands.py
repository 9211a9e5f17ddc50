"""Agent `commands`: requests, cancellations and devices' answers -> the life of each command; its courier sends them over MQTT."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from agents.command_work import changed, work_of
from ems_streams.domain.command_events import CancelRequest, CommandRequest, decode_ack, decode_request
from ems_streams.domain.command_table import CommandInput, CommandStatus
from ems_streams.domain.commands import OPEN_MAX, answer, begin, check_same, contradicts, happen, remark
from ems_streams.domain.commands_codec import CommandRecord
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_COMMANDS, INGRESS_HEARTBEATS
from ems_streams.kafka.dead_letters import good_records, publish_dead_letter
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.heartbeats import HeartbeatGate, heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from tables.commands import command_of, queue_key, queue_of

NAME: Final = "commands"
SOURCES: Final = (DEVICE_COMMANDS, DEVICE_COMMAND_ACKS, INGRESS_HEARTBEATS)
COMMIT_INTERVAL_S: Final = 2.0
"""Of positions alone: whatever happens to a command is published, and so durable at once."""
_GATE: Final = "heartbeats"

Service = Callable[[PartitionState[CommandRecord]], Coroutine[Any, Any, None]]


def agent(table: StateTable[CommandRecord], service: Service | None = None) -> BatchAgent[CommandRecord]:
    """The agent on its table, with what runs for as long as a partition is open; without it nothing is ever sent."""
    return BatchAgent(NAME, SOURCES, table, fold_batch, COMMIT_INTERVAL_S, service=service)


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[CommandRecord]) -> None:
    """Take in what people ask for and what devices answer, and let time go on for commands that nobody answers."""
    if batch.topic == INGRESS_HEARTBEATS:
        _fold_heartbeats(batch, start, partition)
    elif batch.topic == DEVICE_COMMANDS:
        _fold_requests(batch, start, partition)
    else:
        _fold_answers(batch, start, partition)


def _fold_requests(batch: RecordBatch, start: int, partition: PartitionState[CommandRecord]) -> None:
    for record, request in good_records(batch, decode_request, start, partition, NAME):
        try:
            if isinstance(request, CommandRequest):
                _take(partition, request, record.timestamp)
            else:
                _cancel(partition, request, record.timestamp)
        except MalformedError as error:
            publish_dead_letter(partition, batch, record, error, NAME)


def _take(partition: PartitionState[CommandRecord], request: CommandRequest, at_ms: int) -> None:
    known = command_of(partition, request.command_id)
    if known is not None:
        # The same request once more is the same command; anything else with its key is none.
        check_same(known, request)
        return
    command, requested = begin(request)
    queue = queue_of(partition, request.key)
    waiting = len(queue.open)
    queue.open.append(request.command_id)
    partition.put(queue_key(request.key), queue)
    refused = None
    if waiting >= OPEN_MAX:
        refused = happen(command, CommandInput.CANCEL, at_ms, f"{waiting} commands wait for this device already")
    changed(partition, command, requested, refused)
    if not waiting:
        work_of(partition).look_at(request.key)


def _cancel(partition: PartitionState[CommandRecord], request: CancelRequest, at_ms: int) -> None:
    command = command_of(partition, request.command_id)
    if command is None:
        raise MalformedError("unknown_command", f"commandId={request.command_id!r:.150}: there is no such command, or it is long over")
    by = f"by {request.requested_by}"
    event = happen(command, CommandInput.CANCEL, at_ms, by)
    if event is None and not command.final:
        event = remark(command, at_ms, f"cannot be cancelled any more ({by}): it is {command.status}")
    if event is not None:
        changed(partition, command, event)


def _fold_answers(batch: RecordBatch, start: int, partition: PartitionState[CommandRecord]) -> None:
    for record, ack in good_records(batch, decode_ack, start, partition, NAME):
        command = command_of(partition, ack.command_id)
        if command is None or command.request.serial_number != ack.serial_number:
            error = MalformedError("unknown_command", f"commandId={ack.command_id!r:.150}: {ack.serial_number} has no such command")
            publish_dead_letter(partition, batch, record, error, NAME)
            continue
        event = answer(command, ack.result, record.timestamp, ack.detail)
        if event is None and contradicts(command, ack.result):
            event = remark(command, record.timestamp, f"the device answers {ack.result} as well; its first answer counts")
        if event is not None:
            changed(partition, command, event)


def _fold_heartbeats(batch: RecordBatch, start: int, partition: PartitionState[CommandRecord]) -> None:
    gate: HeartbeatGate = partition.derived.setdefault(_GATE, HeartbeatGate(DEVICE_COMMAND_ACKS))
    # What is no heartbeat is put aside by the aggregates agent.
    for record, heartbeat in heartbeats(batch, start, partition, None):
        gate.take(record, heartbeat)
    now_ms = gate.advance(partition.positions.get(DEVICE_COMMAND_ACKS, -1))
    if now_ms is not None:
        _give_up(partition, now_ms)


def _give_up(partition: PartitionState[CommandRecord], now_ms: int) -> None:
    """Everything that devices had answered by now is folded: who has not answered in time has not answered."""
    work = work_of(partition)
    while (key := work.answers.pop(now_ms)) is not None:
        command = command_of(partition, key.decode())
        if command is None or command.final or command.status is CommandStatus.REQUESTED:
            continue
        if command.deadline_ms > now_ms:
            work.note(command)
            continue
        changed(partition, command, happen(command, CommandInput.TIME, now_ms, _no_answer(command.status)))


def _no_answer(status: CommandStatus) -> str:
    return "accepted, and no result in time" if status is CommandStatus.ACCEPTED else "no answer of the device in time"

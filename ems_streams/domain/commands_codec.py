"""Stored forms of `Command`, `DeviceQueue` and `DeviceHistory`: a version byte, which also tells them apart, then a JSON list."""

from typing import Any, Final

import orjson
from pydantic import ValidationError

from ems_streams.domain.command_events import CommandRequest
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.commands import Command, Delivery, DeviceHistory, DeviceQueue, Done, Step
from ems_streams.domain.state_codec import StateCodecError, whole_number

_KIND: Final = "commands"
COMMAND_VERSION: Final = 1
QUEUE_VERSION: Final = 0x41
HISTORY_VERSION: Final = 0x81
CONNECTION_VERSION: Final = 0xC1
_COMMAND_FIELDS: Final = 10

Connection = int
"""How often the courier of the partition has connected."""
CommandRecord = Command | DeviceQueue | DeviceHistory | Connection


def encode(record: CommandRecord) -> bytes:
    """A record as bytes."""
    if isinstance(record, Command):
        return _bytes(COMMAND_VERSION, _command_fields(record))
    if isinstance(record, DeviceQueue):
        return _bytes(QUEUE_VERSION, (record.open, record.flows))
    if isinstance(record, DeviceHistory):
        return _bytes(HISTORY_VERSION, [tuple(each) for each in record.done])
    return _bytes(CONNECTION_VERSION, record)


def decode(data: bytes) -> CommandRecord:
    """Of what `encode` gives; raises `StateCodecError`."""
    if not data:
        raise StateCodecError(_KIND, "the value is empty")
    try:
        return _decode(data[0], orjson.loads(data[1:]))
    except (ValidationError, ValueError, TypeError) as error:
        raise StateCodecError(_KIND, str(error).replace("\n", " ")) from None


def _bytes(version: int, content: object) -> bytes:
    return bytes((version,)) + orjson.dumps(content)


def _command_fields(command: Command) -> tuple[object, ...]:
    return (
        orjson.Fragment(command.request.encode()),
        command.status,
        [tuple(step) for step in command.steps],
        command.sequence,
        command.delivery,
        command.packet_id,
        command.attempts,
        command.next_try_ms,
        command.accepted_ms,
        command.late,
    )


def _decode(version: int, content: Any) -> CommandRecord:
    if version == COMMAND_VERSION:
        return _decode_command(content)
    if version == QUEUE_VERSION:
        opened, flows = content
        return DeviceQueue(list(opened), list(flows))
    if version == HISTORY_VERSION:
        return DeviceHistory([Done(str(command_id), whole_number(at_ms)) for command_id, at_ms in content])
    if version == CONNECTION_VERSION:
        return whole_number(content)
    raise ValueError(f"version {version}, expected {COMMAND_VERSION}, {QUEUE_VERSION}, {HISTORY_VERSION} or {CONNECTION_VERSION}")


def _decode_command(content: Any) -> Command:
    if not isinstance(content, list) or len(content) != _COMMAND_FIELDS:
        raise ValueError(f"expected a list of {_COMMAND_FIELDS} fields")
    request, status, steps, sequence, delivery, *numbers, late = content
    packet_id, attempts, next_try_ms, accepted_ms = map(whole_number, numbers)
    return Command(
        CommandRequest.model_validate(request),
        CommandStatus(status),
        [Step(whole_number(number), CommandStatus(each), whole_number(at_ms), detail) for number, each, at_ms, detail in steps],
        whole_number(sequence),
        Delivery(delivery),
        packet_id,
        attempts,
        next_try_ms,
        accepted_ms,
        bool(late),
    )

"""Commands for people: what this worker knows of them, and who owns what it does not know."""

from typing import Any

from ems_streams.domain.command_events import serial_number_of
from ems_streams.domain.commands import command_view
from ems_streams.domain.commands_codec import CommandRecord
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.web.owners import owner_of
from tables.commands import command_of, history_of, queue_of


class LiveCommands:
    """Read-only views over the commands of the devices in this worker's partitions, as folded so far (durable or not)."""

    def __init__(self, app: WorkerApp, commands: StateTable[CommandRecord]) -> None:
        self._app = app
        self._commands = commands

    def command(self, command_id: str) -> dict[str, Any] | None:
        """The command of an id, or None; raises `PartitionNotReadyError`."""
        serial_number = serial_number_of(command_id)
        if serial_number is None:
            return None
        command = command_of(self._commands.ready(serial_number.encode()), command_id)
        return None if command is None else command_view(command)

    def of_device(self, serial_number: str, limit: int) -> dict[str, Any]:
        """Commands of a device, the newest first: those that are open, and the last ones of those that are done with; raises `PartitionNotReadyError`."""
        key = serial_number.encode()
        partition = self._commands.ready(key)
        queue = queue_of(partition, key)
        ids = [*reversed(queue.open), *(done.command_id for done in reversed(history_of(partition, key).done))][:limit]
        found = (command_of(partition, command_id) for command_id in ids)
        return {
            "serialNumber": serial_number,
            "open": len(queue.open),
            "commands": [command_view(each) for each in found if each is not None],
        }

    def owner(self, serial_number: str) -> str | None:
        """Base URL of the worker that owns the device's partition; None when nobody does."""
        return owner_of(self._app, self._commands, serial_number.encode())

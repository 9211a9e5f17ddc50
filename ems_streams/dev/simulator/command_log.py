"""What devices did about commands, one JSON line for each step: the truth that tests compare the system with.

A line is with the operating system before anything follows from it, so it survives the end of the process at any moment. Lines are added to a file
that is there; a run that goes on from it executes nothing a second time. Fields: `event`, `at`, `serialNumber`, `commandId`, `command`, and
those that stand here; `session` is the name of the MQTT session.

| event | when | more |
|---|---|---|
| `RECEIVED` | a message came; before the broker is told so | `session`, `packetId`, `identity`, `payload`, `expiryS`, `responseTopic`, `correlation`, `flagged` |
| `RESENT` | the broker sent it once more within the same QoS 2 exchange; nothing follows | as above |
| `RELEASED` | the broker will not send it again | `packetId` and `session` only |
| `MALFORMED` | it is no command | `payload` (base64), `detail` |
| `REFUSED` | it is not executed | `detail` |
| `EXPIRED` | it came, or its turn came, too late to be executed | |
| `EXECUTED` | before its effect; twice for one command means twice executed | `result`: `COMPLETED` or `FAILED` |
| `ANSWERED` | the broker has the answer | `result` |
| `OFFLINE`, `ONLINE` | the device has lost its connection or reboots, or is there again | `detail` |
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from ems_streams.dev.simulator.ledger import read_ledger
from ems_streams.dev.simulator.wire import format_ms
from ems_streams.errors import EmsError

_ENDS = frozenset({"REFUSED", "EXPIRED", "EXECUTED", "MALFORMED"})


class CommandLogError(EmsError):
    """A command log cannot be written."""


@dataclass(slots=True)
class Left:
    """What an earlier run has left.

    Attributes:
        unreleased: Packet id and identity of messages that the broker may send again, by session.
        unfinished: Received, and neither executed nor refused, in the order of receipt; as they were logged.
    """

    unreleased: dict[str, dict[int, bytes]] = field(default_factory=dict)
    unfinished: list[dict[str, Any]] = field(default_factory=list)


class CommandLog:
    """Appends lines to a file; without a path, it writes nothing. Use as a context manager.

    Args:
        path: The file; made when it is not there.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.left = Left()

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self.left = _left(self._path)
                # Unbuffered: each line is one write.
                self._file = self._path.open("ab", buffering=0)
            except OSError as error:
                raise CommandLogError(f"command log {self._path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, event: str, at_ms: int, **fields: Any) -> None:
        """Add a line; it survives this process when this returns. Raises `OSError` when it cannot be written."""
        if self._file is not None:
            line = {"event": event, "at": format_ms(at_ms), **{name: value for name, value in fields.items() if value is not None}}
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def read_command_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; raises `LedgerError` naming file and line of one that is not JSON."""
    return read_ledger(path)


def _left(path: Path) -> Left:
    left = Left()
    if not path.exists():
        return left
    waiting: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in read_command_log(path):
        key = (line.get("serialNumber", ""), line.get("commandId", ""))
        if line["event"] == "RECEIVED":
            if "packetId" in line:
                left.unreleased.setdefault(line["session"], {})[line["packetId"]] = bytes.fromhex(line["identity"])
            waiting.setdefault(key, []).append(line)
        elif line["event"] == "RELEASED":
            left.unreleased.get(line["session"], {}).pop(line["packetId"], None)
        elif line["event"] in _ENDS and waiting.get(key):
            del waiting[key][0]
    left.unfinished = [line for lines in waiting.values() for line in lines]
    return left

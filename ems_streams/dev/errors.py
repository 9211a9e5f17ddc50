"""What can keep the embedded stack from starting; each message says what to do about it."""

from pathlib import Path

from ems_streams.dev.units import last_lines
from ems_streams.errors import DependencyError, EmsError

_TAIL_LINES = 12


class DevStackError(EmsError):
    """The embedded stack cannot start, or a part of it has failed."""


class JarError(DevStackError):
    """A jar cannot be kept, or is not the one it must be."""


class JarUnreachableError(DependencyError):
    """A jar cannot be fetched."""


class JreError(DevStackError):
    """There is no Java runtime that starts and is new enough."""


class PortBusyError(DevStackError):
    """A port that the stack needs is in use.

    Attributes:
        port: The port.
        setting: The setting that chooses another one.
    """

    def __init__(self, port: int, purpose: str, setting: str) -> None:
        super().__init__(
            f"port {port} ({purpose}) is in use by another program; stop that program, or choose another port with {setting}=PORT, "
            "or move all ports with --port-offset N"
        )
        self.port = port
        self.setting = setting


class StartError(DevStackError):
    """A server did not become ready; names its log file and shows the end of it."""

    def __init__(self, name: str, reason: str, log_file: Path) -> None:
        tail = last_lines(log_file, _TAIL_LINES)
        shown = "".join(f"\n    {line}" for line in tail) if tail else " (empty)"
        super().__init__(f"{name} {reason}; the end of {log_file}:{shown}")
        self.name = name
        self.log_file = log_file

"""What can keep the embedded stack from starting; each message says what to do about it."""

from pathlib import Path

from ems_streams.errors import EmsError

_TAIL_LINES = 12


class DevStackError(EmsError):
    """The embedded stack cannot start, or a part of it has failed."""


class JarError(DevStackError):
    """A jar cannot be fetched, kept, or is not the one it must be."""


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
    """A process did not become ready; names its log file and shows the end of it."""

    def __init__(self, name: str, reason: str, log_path: Path) -> None:
        tail = log_tail(log_path)
        shown = "".join(f"\n    {line}" for line in tail) if tail else " (empty)"
        super().__init__(f"{name} {reason}; the end of {log_path}:{shown}")
        self.name = name
        self.log_path = log_path


def log_tail(path: Path, lines: int = _TAIL_LINES) -> list[str]:
    """The last lines of a log file; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []

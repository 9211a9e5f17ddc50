"""What the supervisor looks after: programs of ours and embedded servers, and what is known of each."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

RESET_AFTER_S = 30.0
_TAIL_BYTES = 64 * 1024


class State(StrEnum):
    """Where a unit is in its life."""

    STARTING = "starting"
    READY = "ready"
    FAILING = "failing"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Program:
    """A process of ours.

    Attributes:
        name: Unique; shown to people.
        argv: Command and arguments.
        env: Its whole environment.
        log_file: Both of its outputs are appended to it.
        port: Where it listens, to be shown.
        ready_url: Answers 200 when the program is ready; without one it is ready when it has run for a second.
        after: Name of a program that must have been ready once before this one is started.
        ca_file: Authority of the certificate at `ready_url`, if that is https.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_file: Path
    port: int | None = None
    ready_url: str | None = None
    after: str | None = None
    ca_file: Path | None = None


class Server(Protocol):
    """An embedded server; starts and stops itself."""

    @property
    def name(self) -> str:
        """Unique; shown to people."""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def log_file(self) -> Path:
        """What it says."""

    @property
    def running(self) -> bool:
        """Whether its process is alive."""

    async def start(self) -> None:
        """Return when it accepts connections; raises an `EmsError` otherwise."""

    async def kill(self) -> None:
        """End it at once."""


@dataclass(slots=True)
class Unit:
    """What is known of a program or server now.

    Attributes:
        since: When it got into its state, UTC.
        restarts: How often it was started again after it had died.
        detail: Why it is in its state, in a few words; may be empty.
        exit_code: Of the run before; negative for a signal, `None` when there was none.
        was_ready: Set from the first time it is ready.
    """

    name: str
    log_file: Path
    port: int | None
    embedded: bool = False
    state: State = State.STARTING
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    pid: int | None = None
    restarts: int = 0
    detail: str = ""
    exit_code: int | None = None
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, state: State, detail: str = "") -> bool:
        """Change the state; false when it is in that state already (the detail is taken over all the same)."""
        self.detail = detail
        if state is State.READY:
            self.was_ready.set()
        if state is self.state:
            return False
        self.state = state
        self.since = datetime.now(UTC)
        return True


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know: `kind` is for machines (`died`, `restarted`, `failing`, ...), `text` for people."""

    unit: str
    kind: str
    text: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Backoff:
    """Delays between restarts: doubled each time, forgotten after a run of `RESET_AFTER_S`."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 10.0, reset_after_s: float = RESET_AFTER_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._reset_after_s = reset_after_s
        self._failures = 0

    def next_s(self, ran_s: float) -> float:
        """How long to wait before the next start, after a run of that many seconds."""
        if ran_s >= self._reset_after_s:
            self._failures = 0
        # Beyond a few doublings the longest delay is reached anyway.
        delay_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return delay_s


def last_lines(log_file: Path, count: int) -> list[str]:
    """The end of a log file; empty when there is none."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []

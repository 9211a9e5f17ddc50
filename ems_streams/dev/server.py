"""What the three embedded servers have in common: start until ready, stop, kill, start again on the same data."""

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from ems_streams.dev.errors import StartError
from ems_streams.dev.ports import LOOPBACK
from ems_streams.dev.process import Child, Command, end_leftover

log = structlog.get_logger(__name__)

_POLL_S = 0.05


class Server(ABC):
    """A real server on loopback with its data below `data_dir/NAME` and its log in `data_dir/logs/NAME.log`.

    `start` returns when the server answers its own protocol. `stop` and `kill` may be called at any time, also while `start` is
    under way or when nothing runs. After either, `start` brings it back with the same data on the same port.
    """

    name: str
    directory_name: str | None = None
    start_timeout_s: float = 90.0
    stop_timeout_s: float = 15.0

    def __init__(self, port: int, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self._child: Child | None = None

    @property
    def directory(self) -> Path:
        """Where its data is."""
        return self.data_dir / (self.directory_name or self.name)

    @property
    def log_file(self) -> Path:
        return self.data_dir / "logs" / f"{self.name}.log"

    @property
    def pid_path(self) -> Path:
        return self.data_dir / "run" / f"{self.name}.pid"

    @property
    def pid(self) -> int | None:
        """Of the running server; `None` when it does not run."""
        return self._child.pid if self.running and self._child is not None else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def returncode(self) -> int | None:
        """How the last run ended; `None` before the first and while it runs."""
        return None if self._child is None else self._child.returncode

    async def start(self) -> None:
        """Start and wait until it answers; raises `StartError` with the end of the log, and leaves nothing running then."""
        if self.running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.end_leftover()
        try:
            await self._prepare()
            self._child = Child.start(self._command())
            await self._wait_ready(self._child)
        except BaseException:
            await self.kill()
            raise

    async def end_leftover(self) -> None:
        """End a server of these data that a run which was killed has left behind; does nothing when it is ours."""
        if not self.running:
            await asyncio.to_thread(end_leftover, self.pid_path)

    async def stop(self) -> None:
        """Orderly end, by force after `stop_timeout_s`."""
        if self._child is not None and not await self._child.stop(self.stop_timeout_s):
            log.warning("server_killed", server=self.name, waited_s=self.stop_timeout_s)

    async def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would."""
        if self._child is not None:
            await self._child.kill()

    async def _wait_ready(self, child: Child) -> None:
        deadline_s = time.monotonic() + self.start_timeout_s
        while True:
            if child.returncode is not None:
                raise StartError(self.name, f"ended while starting (exit code {child.returncode})", self.log_file)
            if self._accepts() and await self._answers():
                return
            if time.monotonic() > deadline_s:
                raise StartError(self.name, f"is not ready after {self.start_timeout_s:.0f} s", self.log_file)
            await asyncio.sleep(_POLL_S)

    def _accepts(self) -> bool:
        """Whether something accepts connections where it listens."""
        return accepts(self.port)

    @abstractmethod
    async def _prepare(self) -> None:
        """Write its configuration, and format its data directory when that is new."""

    @abstractmethod
    def _command(self) -> Command:
        """How to run it in the foreground."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether it answers a request of its protocol; called when its port accepts connections."""


async def run_tool(command: Command, name: str, timeout_s: float) -> None:
    """Run a helper of a server to its end; raises `StartError` when it fails, and ends it when we are cancelled."""
    child = Child.start(command)
    try:
        if not await child.wait(timeout_s):
            raise StartError(name, f"is not done after {timeout_s:.0f} s", command.log_path)
    finally:
        await child.kill()
    if child.returncode != 0:
        raise StartError(name, f"failed (exit code {child.returncode})", command.log_path)


def accepts(port: int, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections on the loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False


async def within(timeout_s: float, probe: Callable[[], Awaitable[bool]]) -> bool:
    """The probe's answer; no when it fails or takes longer."""
    try:
        async with asyncio.timeout(timeout_s):
            return await probe()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False

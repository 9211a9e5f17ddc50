"""A child process that never outlives us: its own process group, a death signal from the kernel, and a pid file."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from ems_streams.dev import launch as launcher

log = structlog.get_logger(__name__)

_POLL_S = 0.02
_KILL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how.

    Attributes:
        argv: Program and arguments.
        log_path: Where stdout and stderr go; what an earlier run left there is moved to `NAME.1`.
        pid_path: Where the pid is written, for `end_leftover` of the next start.
        env: The whole environment; `None` inherits ours.
        uid: Runs as this user and group when given; needs root.
        stop_signal: Asks for an orderly end.
        death_signal: Sent by the kernel when we die, however we die.
    """

    argv: tuple[str, ...]
    log_path: Path
    pid_path: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdin: Path | None = None
    uid: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL


class Child:
    """A started process. Not bound to an event loop: it may be started in one and stopped in another.

    On Linux the kernel ends it when the thread that started it ends: start it from a thread that lives as long as it shall.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", command: Command) -> None:
        self._popen = popen
        self._command = command

    @classmethod
    def start(cls, command: Command) -> "Child":
        """Start it; a program that cannot be executed ends with exit code 127 and says so in the log."""
        command.log_path.parent.mkdir(parents=True, exist_ok=True)
        rotate(command.log_path)
        user = ("-", "-") if command.uid is None else tuple(str(number) for number in command.uid)
        launch = (sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(int(command.death_signal)), *user)
        with command.log_path.open("wb") as output, (command.stdin or Path(os.devnull)).open("rb") as standard_input:
            popen = subprocess.Popen(
                (*launch, *command.argv),
                stdin=standard_input,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if command.env is None else dict(command.env),
                cwd=command.cwd,
                process_group=0,
            )
        write_pid_file(command.pid_path, popen.pid)
        return cls(popen, command)

    @property
    def pid(self) -> int:
        return int(self._popen.pid)

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; `None` while it runs."""
        return self._popen.poll()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; whether it ended within the time."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self.returncode is None:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    async def stop(self, timeout_s: float) -> bool:
        """Ask it to end, and kill it and its group when it does not in time; whether it ended by itself."""
        if self.returncode is None:
            self._signal(self._command.stop_signal)
        in_time = await self.wait(timeout_s)
        await self.kill()
        return in_time

    async def kill(self) -> None:
        """End it and its group at once (SIGKILL)."""
        self.kill_now()
        await self.wait(_KILL_WAIT_S)
        self._command.pid_path.unlink(missing_ok=True)

    def kill_now(self) -> None:
        """As `kill`, without waiting: for when there is no time or no loop left."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # The orderly end is asked of the process alone: its helpers are its own business until the group is killed.
        try:
            if number is signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                self._popen.send_signal(number)
        except (ProcessLookupError, PermissionError):
            pass


def rotate(path: Path) -> None:
    """Move an existing file to `NAME.1`."""
    if path.exists():
        path.replace(path.with_name(path.name + ".1"))


def write_pid_file(path: Path, pid: int) -> None:
    """Remember a process by its pid and start time, which together no other process has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    partial = path.with_name(path.name + ".new")
    partial.write_text(json.dumps({"pid": pid, "started": started}))
    partial.replace(path)


def end_leftover(pid_path: Path, timeout_s: float = 10.0) -> int | None:
    """End the process that the pid file remembers if it still is that one; returns its pid when it had to be ended.

    The caller must hold the lock of the data directory: what a pid file below it remembers then belongs to a run that is over.
    Only a leader of a process group of its own is touched, which every child of ours is, and nothing but that group.
    """
    process = _remembered(pid_path)
    if process is not None:
        log.warning("leftover_process_ended", pid=process.pid, pid_file=str(pid_path))
        _end_group(process, timeout_s)
    pid_path.unlink(missing_ok=True)
    return None if process is None else process.pid


def _remembered(pid_path: Path) -> psutil.Process | None:
    try:
        content = json.loads(pid_path.read_text())
        process = psutil.Process(int(content["pid"]))
        same = abs(process.create_time() - float(content["started"])) < 1.0
        gone = process.status() == psutil.STATUS_ZOMBIE
        leads = os.getpgid(process.pid) == process.pid
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if same and leads and not gone and _may_be_ended(process.pid) else None


def _may_be_ended(pid: int) -> bool:
    """Whatever a damaged file says: never init, ourselves, nor anything that we run under."""
    return pid > 1 and pid != os.getpgrp() and pid not in {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _end_group(process: psutil.Process, timeout_s: float) -> None:
    # The group is signalled only while its leader lives: afterwards its number may be somebody else's.
    process.terminate()
    _, alive = psutil.wait_procs([process], timeout=timeout_s)
    if alive:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        psutil.wait_procs(alive, timeout=_KILL_WAIT_S)

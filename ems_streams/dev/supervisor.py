"""Keeps programs and servers running: starts, restarts what dies, asks whether they are ready, stops all of them in order."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable

import aiohttp
import structlog

from ems_streams.dev import launch
from ems_streams.dev.units import Backoff, Notice, Program, Server, State, Unit
from ems_streams.errors import EmsError

log = structlog.get_logger(__name__)

STOP_DEADLINE_S = 20.0
WRONG_USAGE = 2
_TICK_S = 0.05
_READY_ANYWAY_S = 1.0
_KILL_DEADLINE_S = 5.0


class Supervisor:
    """A set of programs and servers, from `start` to `stop`.

    Every program runs in a process group of its own, so that a Ctrl-C in the terminal reaches it only through `stop`, and is
    killed by the kernel when this process dies without having stopped it (Linux). Servers are started by their owner; they are
    only watched, and started again when they die.

    Args:
        on_notice: Told what people should know; called on the event loop, must not block.
        interval_s: How often a program is asked whether it is ready; four times as often until it is for the first time.
        backoff: Makes the delays between restarts, one for each unit.
    """

    def __init__(
        self,
        on_notice: Callable[[Notice], None],
        *,
        interval_s: float = 1.0,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._on_notice = on_notice
        self._interval_s = interval_s
        self._backoff = backoff
        self._units: dict[str, Unit] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def units(self) -> list[Unit]:
        """Everything that is looked after, in the order of `add`."""
        return list(self._units.values())

    @property
    def restarts(self) -> int:
        """Restarts of all units together."""
        return sum(unit.restarts for unit in self._units.values())

    def start(self, programs: Iterable[Program]) -> None:
        """Start programs, and keep them running; returns at once."""
        for program in programs:
            self._units[program.name] = Unit(program.name, program.log_file, program.port)
            self._run(program.name, self._supervise(program, self._units[program.name]))

    def expect(self, server: Server) -> None:
        """Show a server that its owner is starting."""
        self._units[server.name] = Unit(server.name, server.log_file, server.port, embedded=True)

    def watch(self, server: Server) -> None:
        """Restart a running server whenever it dies."""
        if server.name not in self._units:
            self.expect(server)
        unit = self._units[server.name]
        unit.pid = server.pid
        unit.enter(State.READY)
        self._run(server.name, self._watch(server, unit))

    async def wait_ready(self, timeout_s: float) -> list[Unit]:
        """Wait until everything has been ready once; returns what has not been, when the time is over or waiting is no use.

        It is no use when a program ends with `WRONG_USAGE`: trying again does not change its settings.
        """
        give_up_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            late = [unit for unit in self.units if not unit.was_ready.is_set()]
            hopeless = [unit for unit in late if unit.exit_code == WRONG_USAGE]
            if not late or hopeless or asyncio.get_running_loop().time() >= give_up_s:
                return hopeless or late
            await asyncio.sleep(_TICK_S)

    async def stop(self, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Stop all programs: SIGTERM to all at once, SIGKILL to what is left at the deadline. Servers are left to their owner.

        Correct at any moment, also while programs are starting; afterwards no process of any of the groups is left.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._signal(signal.SIGTERM)
        # A watch may be in the middle of a server's start; that ends in order beside the programs, not before them.
        await asyncio.gather(self._until_gone(deadline_s), *self._tasks, return_exceptions=True)
        for name in self._alive():
            self._say(name, "killed", f"did not stop within {deadline_s:g} s, killed")
        self._signal(signal.SIGKILL)
        await self._until_gone(_KILL_DEADLINE_S)

    def kill(self) -> None:
        """Kill all programs at once; a `stop` in progress then ends soon."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"supervise {name}"))

    def _say(self, name: str, kind: str, text: str) -> None:
        log.info("supervisor_notice", unit=name, kind=kind, text=text)
        self._on_notice(Notice(name, kind, text))

    async def _supervise(self, program: Program, unit: Unit) -> None:
        if program.after is not None:
            await self._units[program.after].was_ready.wait()
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            process = self._spawn(program)
            unit.pid = process.pid
            asking = asyncio.create_task(self._ask_ready(program, unit))
            try:
                code = await _exit_code(process)
            finally:
                asking.cancel()
            self._forget(program.name, process)
            unit.exit_code = code
            delay_s = backoff.next_s(loop.time() - started_s)
            self._died(unit, f"ended with {describe_exit(code)}", delay_s)
            await asyncio.sleep(delay_s)
            unit.restarts += 1
            unit.enter(State.STARTING)
            self._say(unit.name, "restarted", f"started again (restart {unit.restarts})")

    def _spawn(self, program: Program) -> "subprocess.Popen[bytes]":
        """Start the process and take it into the books in one go: nothing can be cancelled in between."""
        if self._stopping:
            raise asyncio.CancelledError
        program.log_file.parent.mkdir(parents=True, exist_ok=True)
        with program.log_file.open("ab") as output:
            process = subprocess.Popen(
                (*_launcher(), *program.argv),
                env=dict(program.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._processes[program.name] = process
        return process

    def _died(self, unit: Unit, why: str, delay_s: float) -> None:
        unit.pid = None
        unit.enter(State.RESTARTING, why)
        self._say(unit.name, "died", f"{why}; starts again in {delay_s:g} s")

    async def _ask_ready(self, program: Program, unit: Unit) -> None:
        if program.ready_url is None:
            await asyncio.sleep(_READY_ANYWAY_S)
            self._judge(unit, None)
            return
        timeout = aiohttp.ClientTimeout(total=max(2.0, self._interval_s))
        ready_before = False
        tls: ssl.SSLContext | bool = True if program.ca_file is None else ssl.create_default_context(cafile=program.ca_file)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=tls)) as session:
            while True:
                problem = await _readiness_problem(session, program.ready_url)
                ready_before = ready_before or problem is None
                if ready_before:
                    self._judge(unit, problem)
                else:
                    unit.detail = problem or ""
                await asyncio.sleep(self._interval_s if ready_before else self._interval_s / 4)

    def _judge(self, unit: Unit, problem: str | None) -> None:
        if problem is None:
            recovered = unit.state is State.FAILING
            if unit.enter(State.READY):
                self._say(unit.name, "ready", "is ready again" if recovered else "is ready")
        elif unit.enter(State.FAILING, problem):
            self._say(unit.name, "failing", f"is not ready: {problem}")

    async def _watch(self, server: Server, unit: Unit) -> None:
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        while True:
            while server.running:  # noqa: ASYNC110 - nothing tells of the end of a process but asking
                await asyncio.sleep(_TICK_S * 5)
            why = "ended by itself"
            while True:
                delay_s = backoff.next_s(loop.time() - started_s)
                self._died(unit, why, delay_s)
                await asyncio.sleep(delay_s)
                unit.restarts += 1
                unit.enter(State.STARTING)
                started_s = loop.time()
                try:
                    await server.start()
                    break
                except (EmsError, OSError) as error:
                    why = f"did not start: {error}"
            unit.pid = server.pid
            unit.enter(State.READY)
            self._say(unit.name, "restarted", f"started again (restart {unit.restarts})")

    def _forget(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        """Take a process that has ended out of the books, with whatever it has left behind in its group."""
        _signal_group(process.pid, signal.SIGKILL)
        if self._processes.get(name) is process:
            del self._processes[name]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                _signal_group(process.pid, number)

    def _alive(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.poll() is None]

    async def _until_gone(self, deadline_s: float) -> None:
        """Wait for all processes to end, until the deadline; what ends is marked as stopped."""
        give_up_s = asyncio.get_running_loop().time() + deadline_s
        while True:
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    self._forget(name, process)
                    self._units[name].pid = None
                    self._units[name].enter(State.STOPPED, describe_exit(process.returncode))
            if not self._processes or asyncio.get_running_loop().time() >= give_up_s:
                return
            await asyncio.sleep(_TICK_S)


def describe_exit(code: int) -> str:
    """An exit code in words: `exit code 1`, `SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


async def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - nothing tells of the end of a process but asking
        await asyncio.sleep(_TICK_S)
    return code


async def _readiness_problem(session: aiohttp.ClientSession, url: str) -> str | None:
    """None when ready; otherwise which checks fail, in words."""
    try:
        async with session.get(url) as response:
            if response.status == 200:
                return None
            body = await response.json(content_type=None)
            failing = [f"{name}: {check.get('detail') or 'failing'}" for name, check in body["checks"].items() if not check["ok"]]
            return "; ".join(failing) or f"answers {response.status}"
    except TimeoutError:
        return "does not answer in time"
    except aiohttp.ClientError:
        return "does not answer"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "answers something that is no health report"


def _launcher() -> tuple[str, ...]:
    """What makes the kernel kill a program as soon as this process is gone."""
    keep_user = ("-", "-")
    return (sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGKILL)), *keep_user)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)

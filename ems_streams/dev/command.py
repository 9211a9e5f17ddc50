"""`ems-streams dev`: brings the stack and the processes up, keeps them up, and takes all of it down again."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from ems_streams.dev.board import TICK_S, Board, Display
from ems_streams.dev.datadir import locked, rotate, wipe
from ems_streams.dev.lines import JsonLines, PlainLines
from ems_streams.dev.plan import Options, Plan, make_plan, programs, with_credentials
from ems_streams.dev.rates import EventRates
from ems_streams.dev.screen import Screen
from ems_streams.dev.supervisor import Supervisor
from ems_streams.dev.units import Notice, State, Unit, last_lines
from ems_streams.errors import EmsError
from ems_streams.kafka.acls import Acl, apply_acls
from ems_streams.kafka.admin import apply_topics
from ems_streams.ops.logs import configure_logging
from ems_streams.rules.applying import apply_builtin_once
from ems_streams.settings import Settings

if TYPE_CHECKING:
    from ems_streams.dev.stack import EmbeddedStack

log = structlog.get_logger(__name__)

Rights = Callable[[Settings], Sequence[Acl]]
START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 28.0
_SHOWN_LOG_LINES = 15
_INTERRUPTED = 130
_SECOND_WISH_S = 0.5


class StartFailedError(EmsError):
    """Something did not become ready in time."""


def run(options: Options, rights: Rights | None = None) -> int:
    """Run until stopped, or for the duration; returns the exit code, or raises an `EmsError` that says what is in the way.

    Args:
        rights: What every process may do on Kafka, for secure runs.
    """
    plan = make_plan(options)
    with locked(plan.data_dir):
        plan.ports.check_free(options.workers, plan.ports_needed)
        if options.fresh:
            wipe(plan.data_dir)
        if options.secure:
            plan = with_credentials(plan)
        plan.log_dir.mkdir(parents=True, exist_ok=True)
        for name in ("dev", *(program.name for program in programs(plan))):
            rotate(plan.log_dir / f"{name}.log")
        with (plan.log_dir / "dev.log").open("a") as log_stream:
            configure_logging(plan.settings, "dev", log_stream)
            session = Session(plan, rights=rights)
            code = asyncio.run(session.run())
    if session.interrupted_download:
        # Threads in the middle of a download cannot be told to end, and the interpreter would wait for them.
        sys.stdout.flush()
        os._exit(code)
    return code


class Session:
    """One run, from the first step to the last process gone.

    The first SIGINT, SIGTERM or SIGHUP stops everything in order, within 30 s, at whatever moment it comes; a SIGINT
    after that kills.
    """

    def __init__(self, plan: Plan, display: Display | None = None, rights: Rights | None = None) -> None:
        self.plan = plan
        self._rights = rights
        self.board = Board(plan)
        self.display = display or _choose_display(self.board)
        self.supervisor = Supervisor(self._on_notice)
        self.interrupted_download = False
        self._stack: EmbeddedStack | None = None
        self._stopping = asyncio.Event()
        self._stopping_since_s = 0.0
        self._killed = False
        self._beside: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Come up, stay up, go down; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        self.display.open()
        self._beside.append(asyncio.create_task(self._tick(), name="display"))
        coming_up = asyncio.create_task(self._come_up(), name="come up")
        stop = asyncio.create_task(self._stopping.wait(), name="stop signal")
        try:
            await asyncio.wait((coming_up, stop), return_when=asyncio.FIRST_COMPLETED)
            if coming_up.done():
                await coming_up
                await asyncio.wait((stop,), timeout=self.plan.options.duration_s)
        finally:
            stop.cancel()
            coming_up.cancel()
            await self._go_down(coming_up)
        return _INTERRUPTED if self._killed else 0

    def _on_signal(self, number: signal.Signals) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self._stopping.is_set():
            self._stopping.set()
            self._stopping_since_s = now_s
        # A signal to us and to our process group, as `timeout` sends it, is one wish and not two.
        elif number is signal.SIGINT and now_s - self._stopping_since_s >= _SECOND_WISH_S:
            self._killed = True
            self.supervisor.kill()
            self._kill_servers()

    def _on_notice(self, notice: Notice) -> None:
        self.board.notices.append(notice)
        self.display.notice(notice)

    async def _come_up(self) -> None:
        stack = await self._prepare()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        deadline_s = started_s + START_DEADLINE_S
        self._step(f"starting {', '.join(server.name for server in stack.servers)}" if stack.servers else "using external servers")
        for server in stack.servers:
            self.supervisor.expect(server)
        self.board.units = self.supervisor.units
        async with _deadline(deadline_s, "the servers"):
            await stack.start()
        for server in stack.servers:
            self.supervisor.watch(server)
        self._step("creating topics")
        async with _deadline(deadline_s, "the topics"):
            await self._apply_topics()
            await self._grant_rights()
            if self.plan.options.builtin_rules:
                await self._apply_builtin_rules()
        wanted = programs(self.plan, stack.database_url if "postgres" in self.plan.embedded else None)
        self._step(f"starting {', '.join(program.name for program in wanted)}")
        self.supervisor.start(wanted)
        self.board.units = self.supervisor.units
        self.board.rates = EventRates(self.plan.settings)
        self._beside.append(asyncio.create_task(self.board.rates.run(), name="event rates"))
        late = await self.supervisor.wait_ready(deadline_s - loop.time())
        if late:
            raise self._failed(late)
        self.board.start_s = loop.time() - started_s
        self.board.set_up()
        self.display.up()

    async def _prepare(self) -> "EmbeddedStack":
        # Needs the extra `dev-stack`, which is worth a message of its own.
        try:
            from ems_streams.dev.stack import EmbeddedStack
        except ModuleNotFoundError as error:
            raise EmsError(f"{error.name} is not installed; install EMS Streams with its extra: ems-streams[dev-stack]") from None
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(self.display.progress, done, total)

        secured = {} if self.plan.secure is None else self.plan.secure.servers()
        stack = EmbeddedStack(self.plan.data_dir, self.plan.ports, servers=self.plan.embedded, on_progress=progress, **secured)
        self._step("fetching the servers (about 60 MB the first time)")
        self.interrupted_download = True
        self.board.download_s = await stack.prepare()
        self.interrupted_download = False
        self._stack = stack
        return stack

    async def _apply_topics(self) -> None:
        refused = [plan for plan in await apply_topics(self.plan.settings) if plan.refusals]
        if refused:
            settings = sorted({refusal.setting for plan in refused for refusal in plan.refusals})
            text = (
                f"{len(refused)} of them stay as they are ({', '.join(settings)}); `ems-streams topics plan` says why, --fresh starts anew"
            )
            self._on_notice(Notice("topics", "refused", text))

    async def _grant_rights(self) -> None:
        if self._rights is not None and self.plan.secure is not None and "kafka" in self.plan.embedded:
            self._step("granting rights")
            await apply_acls(self.plan.settings, self._rights(self.plan.settings))

    async def _apply_builtin_rules(self) -> None:
        try:
            count = await apply_builtin_once(self.plan.settings, by="dev")
        except EmsError as error:
            # All else works without them.
            self._on_notice(Notice("alarm rules", "refused", f"the built-in ones are not applied: {error}"))
            return
        if count:
            self._step(f"applied {count} built-in alarm rules; `ems-streams rules list` shows them")

    def _failed(self, late: list[Unit]) -> StartFailedError:
        for unit in late:
            reason = f"is not ready ({unit.detail or unit.state.value})"
            self.display.failed(unit.name, reason, unit.log_file, last_lines(unit.log_file, _SHOWN_LOG_LINES))
        names = ", ".join(unit.name for unit in late)
        return StartFailedError(f"not ready: {names}; see {', '.join(str(unit.log_file) for unit in late)}")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.display.tick()

    async def _go_down(self, coming_up: "asyncio.Task[None]") -> None:
        """Stop programs, then servers; kill what is left when `STOP_DEADLINE_S` is over."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._step("stopping")
        # A server may be in the middle of its start; it ends that by itself when it is cancelled.
        await asyncio.wait((coming_up,), timeout=STOP_DEADLINE_S / 2)
        await self.supervisor.stop()
        if self._stack is not None:
            try:
                async with asyncio.timeout_at(max(began_s + STOP_DEADLINE_S, loop.time() + 1.0)):
                    await self._stack.stop()
            except TimeoutError:
                log.error("servers_killed", after_s=STOP_DEADLINE_S)
                await asyncio.gather(*self._kill_servers(), return_exceptions=True)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        for unit in self.board.units:
            unit.pid = None
            unit.enter(State.STOPPED)
        self.board.set_phase(text := f"stopped in {loop.time() - began_s:.1f} s", over=True)
        self.display.step(text)
        self.display.close()

    def _kill_servers(self) -> "list[asyncio.Task[None]]":
        if self._stack is None:
            return []
        return [asyncio.create_task(server.kill(), name=f"kill {server.name}") for server in self._stack.servers]

    def _step(self, text: str) -> None:
        self.board.set_phase(text)
        self.display.step(text)


@contextlib.asynccontextmanager
async def _deadline(deadline_s: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError:
        raise StartFailedError(f"{what} did not become ready within {START_DEADLINE_S:g} s") from None


def _choose_display(board: Board) -> Display:
    if board.plan.options.json:
        return JsonLines(board)
    if board.plan.options.headless or not sys.stdout.isatty():
        return PlainLines(board)
    return Screen(board)

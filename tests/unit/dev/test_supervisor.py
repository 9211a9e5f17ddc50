"""The supervisor against real, small processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp.web
import psutil
import pytest

from ems_streams.dev.supervisor import Supervisor
from ems_streams.dev.units import Backoff, Notice, Program, State, Unit
from ems_streams.errors import EmsError

SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
WITH_CHILD = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"


class Stage:
    """A supervisor, what it has said, and a way to make programs for it."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.notices: list[Notice] = []
        self.supervisor = Supervisor(self.notices.append, interval_s=0.1, backoff=lambda: Backoff(first_s=0.05, longest_s=0.2))

    def program(self, name: str, code: str, ready_url: str | None = None, after: str | None = None) -> Program:
        return Program(name, (sys.executable, "-c", code), dict(os.environ), self.tmp_path / f"{name}.log", None, ready_url, after)

    def unit(self, name: str) -> Unit:
        return next(unit for unit in self.supervisor.units if unit.name == name)

    def log(self, name: str) -> str:
        path = self.tmp_path / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def kinds(self, name: str) -> list[str]:
        return [notice.kind for notice in self.notices if notice.unit == name]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.supervisor.stop(deadline_s=0.0)


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class TestBackoff:
    def test_doubles_up_to_the_longest(self):
        backoff = Backoff()
        assert [backoff.next_s(1.0) for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

    def test_forgets_after_a_long_run_and_not_before(self):
        backoff = Backoff()
        assert [backoff.next_s(ran_s) for ran_s in (0.1, 29.9, 30.0, 0.1)] == [0.5, 1.0, 0.5, 1.0]

    def test_never_overflows(self):
        backoff = Backoff()
        assert {backoff.next_s(0.0) for _ in range(5000)} == {0.5, 1.0, 2.0, 4.0, 8.0, 10.0}


class TestRestarts:
    async def test_what_dies_is_started_again_and_said_so(self, stage: Stage):
        stage.supervisor.start([stage.program("short", "print('once', flush=True); raise SystemExit(3)")])
        await until(lambda: stage.unit("short").restarts >= 2)
        assert stage.log("short").count("once") >= 2
        assert stage.kinds("short")[:4] == ["died", "restarted", "died", "restarted"]
        assert stage.notices[0].text == "ended with exit code 3; starts again in 0.05 s"
        assert stage.notices[2].text == "ended with exit code 3; starts again in 0.1 s"

    async def test_a_killed_program_comes_back_with_another_pid(self, stage: Stage):
        stage.supervisor.start([stage.program("sleeper", SLEEPER)])
        await until(lambda: stage.unit("sleeper").state is State.READY)
        first = stage.unit("sleeper").pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: stage.unit("sleeper").state is State.RESTARTING)
        await until(lambda: stage.unit("sleeper").state is State.READY)
        assert stage.unit("sleeper").pid not in {None, first}
        assert "SIGKILL" in next(notice.text for notice in stage.notices if notice.kind == "died")

    async def test_what_a_dead_program_left_behind_is_ended_before_the_next(self, stage: Stage):
        stage.supervisor.start([stage.program("parent", WITH_CHILD)])
        await until(lambda: stage.log("parent").strip())
        child = int(stage.log("parent").split()[0])
        os.kill(stage.unit("parent").pid or 0, signal.SIGKILL)
        await until(lambda: stage.unit("parent").restarts == 1)
        assert not alive(child)

    async def test_others_keep_running(self, stage: Stage):
        stage.supervisor.start([stage.program("short", "raise SystemExit(1)"), stage.program("sleeper", SLEEPER)])
        await until(lambda: stage.unit("short").restarts >= 2)
        assert stage.unit("sleeper").restarts == 0

    async def test_a_program_that_cannot_be_executed_is_reported_not_raised(self, stage: Stage):
        stage.supervisor.start([Program("none", ("/nonexistent/program",), {}, tmp := stage.tmp_path / "none.log")])
        await until(lambda: stage.unit("none").restarts >= 1)
        assert "cannot run /nonexistent/program" in tmp.read_text()


class TestReadiness:
    @pytest.fixture
    async def health(self) -> AsyncIterator[tuple[str, dict[str, int]]]:
        answer = {"status": 503}

        async def readyz(_: aiohttp.web.Request) -> aiohttp.web.Response:
            checks = {"kafka": {"ok": answer["status"] == 200, "detail": "no broker", "forS": 1.0}}
            return aiohttp.web.json_response({"status": "failing", "checks": checks}, status=answer["status"])

        app = aiohttp.web.Application()
        app.router.add_get("/readyz", readyz)
        runner = aiohttp.web.AppRunner(app, access_log=None)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/readyz", answer
        await runner.cleanup()

    async def test_follows_what_the_program_says_of_itself(self, stage: Stage, health: tuple[str, dict[str, int]]):
        url, answer = health
        stage.supervisor.start([stage.program("web", SLEEPER, url)])
        await until(lambda: stage.unit("web").detail == "kafka: no broker")
        assert stage.unit("web").state is State.STARTING
        answer["status"] = 200
        await until(lambda: stage.unit("web").state is State.READY)
        answer["status"] = 503
        await until(lambda: stage.unit("web").state is State.FAILING)
        answer["status"] = 200
        await until(lambda: stage.unit("web").state is State.READY)
        assert stage.kinds("web") == ["ready", "failing", "ready"]
        assert [notice.text for notice in stage.notices][1:] == ["is not ready: kafka: no broker", "is ready again"]

    async def test_waits_for_all_and_names_the_late(self, stage: Stage, health: tuple[str, dict[str, int]]):
        url, answer = health
        stage.supervisor.start([stage.program("web", SLEEPER, url), stage.program("sleeper", SLEEPER)])
        assert [unit.name for unit in await stage.supervisor.wait_ready(1.5)] == ["web"]
        answer["status"] = 200
        assert await stage.supervisor.wait_ready(5.0) == []

    async def test_wrong_usage_is_not_waited_for(self, stage: Stage):
        stage.supervisor.start([stage.program("wrong", "raise SystemExit(2)"), stage.program("sleeper", SLEEPER)])
        started = time.monotonic()
        assert [unit.name for unit in await stage.supervisor.wait_ready(30.0)] == ["wrong"]
        assert time.monotonic() - started < 5.0

    async def test_one_program_after_another(self, stage: Stage, health: tuple[str, dict[str, int]]):
        url, answer = health
        stage.supervisor.start([stage.program("web", SLEEPER, url), stage.program("second", SLEEPER, after="web")])
        await until(lambda: stage.unit("web").detail)
        assert stage.unit("second").pid is None
        answer["status"] = 200
        await until(lambda: stage.unit("second").pid is not None)
        assert stage.unit("web").was_ready.is_set()


class TestStop:
    async def test_all_are_asked_at_once_and_end_in_order(self, stage: Stage):
        slow = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0))); print('up', flush=True); time.sleep(60)"
        stage.supervisor.start([stage.program(f"slow-{number}", slow) for number in range(3)])
        await until(lambda: all(stage.log(f"slow-{number}") for number in range(3)))
        started = time.monotonic()
        await stage.supervisor.stop(deadline_s=10.0)
        assert 0.9 < time.monotonic() - started < 2.5
        assert {(unit.state, unit.detail) for unit in stage.supervisor.units} == {(State.STOPPED, "exit code 0")}
        assert not stage.notices

    async def test_a_program_that_ignores_sigterm_is_killed_at_the_deadline(self, stage: Stage):
        stage.supervisor.start([stage.program("stubborn", STUBBORN)])
        await until(lambda: stage.log("stubborn"))
        pid = stage.unit("stubborn").pid or 0
        started = time.monotonic()
        await stage.supervisor.stop(deadline_s=0.5)
        assert 0.5 <= time.monotonic() - started < 2.0
        assert not alive(pid)
        assert stage.kinds("stubborn") == ["killed"]
        assert stage.unit("stubborn").detail == "SIGKILL"

    async def test_kill_cuts_a_stop_short(self, stage: Stage):
        stage.supervisor.start([stage.program("stubborn", STUBBORN)])
        await until(lambda: stage.log("stubborn"))
        stopping = asyncio.create_task(stage.supervisor.stop(deadline_s=30.0))
        await asyncio.sleep(0.1)
        stage.supervisor.kill()
        await asyncio.wait_for(stopping, 3.0)

    @pytest.mark.parametrize("delay_s", [None, 0.0, 0.005, 0.02, 0.05, 0.1, 0.3])
    async def test_in_the_middle_of_starting_nothing_is_left(self, stage: Stage, delay_s: float | None):
        before = {process.pid for process in psutil.Process().children(recursive=True)}
        stage.supervisor.start([stage.program(f"sleeper-{number}", SLEEPER) for number in range(4)])
        if delay_s is not None:
            await asyncio.sleep(delay_s)
        await stage.supervisor.stop(deadline_s=5.0)
        await asyncio.sleep(0.2)
        assert {process.pid for process in psutil.Process().children(recursive=True)} == before

    async def test_during_the_wait_before_a_restart_nothing_starts_any_more(self, stage: Stage):
        stage.supervisor.start([stage.program("short", "print('once', flush=True)")])
        await until(lambda: stage.unit("short").state is State.RESTARTING)
        await stage.supervisor.stop()
        runs = stage.log("short").count("once")
        await asyncio.sleep(0.5)
        assert stage.log("short").count("once") == runs

    async def test_the_whole_group_goes(self, stage: Stage):
        stage.supervisor.start([stage.program("parent", WITH_CHILD)])
        await until(lambda: stage.log("parent").strip())
        child = int(stage.log("parent"))
        await stage.supervisor.stop(deadline_s=5.0)
        await until(lambda: not alive(child), 2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
async def test_programs_die_with_a_supervisor_that_is_killed(tmp_path: Path):
    code = f"""
import asyncio, os, sys
from pathlib import Path
from ems_streams.dev.supervisor import Supervisor
from ems_streams.dev.units import Program
async def main():
    supervisor = Supervisor(lambda notice: None)
    supervisor.start([Program("p", (sys.executable, "-c", {SLEEPER!r}), dict(os.environ), Path({str(tmp_path)!r}) / "p.log")])
    while not supervisor.units[0].pid:
        await asyncio.sleep(0.01)
    print(supervisor.units[0].pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as supervising:
        assert supervising.stdout is not None
        pid = int(await asyncio.to_thread(supervising.stdout.readline))
        # Before it has become the program, the launcher would notice by itself that its parent has gone.
        await until(lambda: psutil.Process(pid).cmdline()[1:] == ["-c", SLEEPER])
        supervising.kill()
        await until(lambda: not alive(pid), 3.0)


class SleepingServer:
    """A real process that behaves as an embedded server does: starts and is killed by itself, restarted by its `start`."""

    name = "server"
    port = 1

    def __init__(self, log_file: Path) -> None:
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise EmsError("no disk")
        self.process = subprocess.Popen([sys.executable, "-c", SLEEPER])

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


async def test_a_server_that_dies_is_started_again_until_it_does(stage: Stage):
    server = SleepingServer(stage.tmp_path / "server.log")
    await server.start()
    try:
        stage.supervisor.watch(server)
        server.failures = 2
        await server.kill()
        await until(lambda: stage.unit("server").state is State.READY and stage.unit("server").restarts == 3)
        assert server.running
        assert stage.unit("server").pid == server.pid
        assert stage.kinds("server") == ["died", "died", "died", "restarted"]
        assert "did not start: no disk" in stage.notices[1].text
        await stage.supervisor.stop()
        assert server.running
    finally:
        await server.kill()

"""Children: they end with us however we end, and what a killed run left behind is found and ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ems_streams.dev.errors import StartError
from ems_streams.dev.process import Child, Command, _may_be_ended, end_leftover, write_pid_file
from ems_streams.dev.server import run_tool

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def command(tmp_path: Path, code: str) -> Command:
    return Command((sys.executable, "-c", code), tmp_path / "logs" / "x.log", tmp_path / "run" / "x.pid")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until_log(path: Path, text: str) -> str:
    async with asyncio.timeout(20):
        while text not in (found := path.read_text()):  # noqa: ASYNC240 - a small local file
            await asyncio.sleep(0.02)
    return found


async def test_a_child_stops_when_asked(tmp_path: Path) -> None:
    child = Child.start(command(tmp_path, SLEEP))
    assert alive(child.pid)
    assert await child.stop(10.0)
    assert not alive(child.pid)
    assert not (tmp_path / "run" / "x.pid").exists()


async def test_a_deaf_child_is_killed_with_its_group(tmp_path: Path) -> None:
    grandchild = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); {DEAF}"
    child = Child.start(command(tmp_path, grandchild))
    log = await until_log(tmp_path / "logs" / "x.log", "deaf")
    assert not await child.stop(0.1)
    assert child.returncode == -signal.SIGKILL
    async with asyncio.timeout(5):
        while alive(int(log.split()[0])):
            await asyncio.sleep(0.02)


async def test_a_child_can_be_stopped_from_another_loop(tmp_path: Path) -> None:
    child = Child.start(command(tmp_path, SLEEP))
    await asyncio.to_thread(asyncio.run, child.stop(10.0))
    assert child.returncode is not None


async def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    for text in ("one", "two"):
        child = Child.start(command(tmp_path, f"print({text!r})"))
        assert await child.wait(20)
        await child.kill()
    assert (tmp_path / "logs" / "x.log").read_text() == "two\n"
    assert (tmp_path / "logs" / "x.log.1").read_text() == "one\n"


async def test_a_tool_that_fails_is_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"(?s)tool failed \(exit code 4\).*no such thing"):
        await run_tool(command(tmp_path, "print('no such thing'); raise SystemExit(4)"), "tool", 20)


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    missing = Command((str(tmp_path / "nothing"),), tmp_path / "x.log", tmp_path / "x.pid")
    with pytest.raises(StartError, match=r"(?s)exit code 127.*cannot run"):
        await run_tool(missing, "tool", 20)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone sends a signal when the parent dies")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "x.log", tmp_path / "x.pid"
    child = f"print('at work', flush=True); {SLEEP}"
    code = (
        "import sys, time; from pathlib import Path; from ems_streams.dev.process import Child, Command\n"
        f"child = Child.start(Command((sys.executable, '-c', {child!r}), Path({str(log)!r}), Path({str(pid_file)!r})))\n"
        # Until it is past the launcher, which notices the death of the parent by itself.
        f"while 'at work' not in Path({str(log)!r}).read_text(): time.sleep(0.02)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    deadline_s = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the test's own, in a group of its own as children of ours are. No test names a process that is not its own."""
    with subprocess.Popen([sys.executable, "-c", SLEEP], process_group=0) as process:
        yield process
        process.kill()


def test_a_leftover_is_ended(tmp_path: Path, bystander: "subprocess.Popen[bytes]") -> None:
    pid_path = tmp_path / "x.pid"
    write_pid_file(pid_path, bystander.pid)
    assert end_leftover(pid_path, timeout_s=5) == bystander.pid
    assert not alive(bystander.pid)
    assert not pid_path.exists()


def test_a_stranger_that_got_the_pid_later_is_left_alone(tmp_path: Path, bystander: "subprocess.Popen[bytes]") -> None:
    pid_path = tmp_path / "x.pid"
    started = psutil.Process(bystander.pid).create_time() - 3600
    pid_path.write_text(json.dumps({"pid": bystander.pid, "started": started}))
    assert end_leftover(pid_path) is None
    assert alive(bystander.pid)
    assert not pid_path.exists()


def test_a_process_that_leads_no_group_is_none_of_ours(tmp_path: Path) -> None:
    pid_path = tmp_path / "x.pid"
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as member:
        write_pid_file(pid_path, member.pid)
        assert end_leftover(pid_path) is None
        assert alive(member.pid)
        member.kill()


def test_neither_init_nor_what_we_run_under_may_be_ended(bystander: "subprocess.Popen[bytes]") -> None:
    # Asks only: nothing is signalled here, whatever the answer.
    assert not any(_may_be_ended(pid) for pid in (0, 1, os.getpid(), os.getppid(), os.getpgrp()))
    assert _may_be_ended(bystander.pid)


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"pid": "x"}', '{"pid": 99999999, "started": 1}'])
def test_a_pid_file_that_says_nothing_is_removed(tmp_path: Path, content: str) -> None:
    pid_path = tmp_path / "x.pid"
    pid_path.write_text(content)
    assert end_leftover(pid_path) is None
    assert not pid_path.exists()

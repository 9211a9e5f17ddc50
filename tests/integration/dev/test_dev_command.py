"""`ems-streams dev` as people run it: as a process of its own, watched from outside."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ems_streams.dev.ports import Ports
from ems_streams.errors import EmsError
from tests.support.dev_command import Dev

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

UP_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0


def users_of(data_dir: Path) -> list[str]:
    """Processes that have to do with the directory: by their command line, environment or working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            traces = [*process.cmdline(), process.environ().get("EMS_DATA_DIR", ""), process.cwd()]
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and any(str(data_dir) in trace for trace in traces):
                found.append(f"{process.pid} {process.cmdline()[:4]}")
        except psutil.Error:
            continue
    return found


def nothing_left(data_dir: Path, family: list[psutil.Process], within_s: float = 3.0) -> None:
    _, alive = psutil.wait_procs(family, timeout=within_s)
    deadline = time.monotonic() + within_s
    while (users := users_of(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive
    assert users == []


@pytest.fixture
def offset() -> str:
    """An offset at which all ports are free just now."""
    for candidate in range(20_000, 23_600, 97):
        try:
            Ports.default(candidate).check_free(2)
        except EmsError:
            continue
        return str(candidate)
    raise AssertionError("no free ports")


@pytest.fixture
def start(tmp_path: Path, offset: str) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*options: str, **env: str) -> Dev:
        dev = Dev(tmp_path / "data", "--port-offset", offset, *options, **env)
        started.append(dev)
        return dev

    yield start
    for dev in started:
        dev.kill()


def test_comes_up_says_where_to_look_and_leaves_nothing(start: Callable[..., Dev], offset: str):
    dev = start("--duration", "5", "--devices", "5")
    headline = dev.wait_for(lambda line: line.startswith("EMS Streams is up"), UP_TIMEOUT_S)
    assert headline.startswith(f"EMS Streams is up: http://localhost:{8080 + int(offset)}  (download ")
    family = dev.family()
    assert len(family) >= 7
    assert dev.wait_end(5 + STOP_TIMEOUT_S) == 0
    text = "\n".join(dev.lines)
    assert "built-in alarm rules; `ems-streams rules list` shows them" in text
    assert f"mosquitto_pub -h localhost -p {1883 + int(offset)}" in text
    for name in ("kafka", "mqtt", "postgres", "ingress", "worker-0", "sink", "gateway", "simulator"):
        assert any(line.split()[:2] == [name, "ready"] for line in dev.lines), name
    nothing_left(dev.data_dir, family)


def test_a_killed_worker_is_started_again_and_said_so(start: Callable[..., Dev]):
    dev = start("--json", "--no-simulator", "--no-builtin-rules")
    up = json.loads(dev.wait_for(event("up"), UP_TIMEOUT_S))
    assert not any("alarm rules" in line for line in dev.lines)
    worker = next(unit for unit in up["units"] if unit["name"] == "worker-0")
    os.kill(worker["pid"], signal.SIGKILL)
    died = json.loads(dev.wait_for(event("notice", unit="worker-0", kind="died"), 5.0))
    assert "SIGKILL" in died["text"]
    dev.wait_for(event("notice", unit="worker-0", kind="restarted"), 5.0)
    dev.wait_for(event("notice", unit="worker-0", kind="ready"), 60.0)
    family = dev.family()
    dev.process.send_signal(signal.SIGINT)
    assert dev.wait_end(STOP_TIMEOUT_S) == 0
    nothing_left(dev.data_dir, family)


def test_a_killed_server_is_started_again_on_its_data(start: Callable[..., Dev]):
    dev = start("--json", "--no-simulator")
    up = json.loads(dev.wait_for(event("up"), UP_TIMEOUT_S))
    mqtt = next(unit for unit in up["units"] if unit["name"] == "mqtt")
    os.kill(mqtt["pid"], signal.SIGKILL)
    dev.wait_for(event("notice", unit="mqtt", kind="died"), 5.0)
    dev.wait_for(event("notice", unit="mqtt", kind="restarted"), 60.0)
    family = dev.family()
    dev.process.send_signal(signal.SIGTERM)
    assert dev.wait_end(STOP_TIMEOUT_S) == 0
    nothing_left(dev.data_dir, family)


@pytest.mark.parametrize(
    ("phase", "delay_s"), [("starting kafka", 0.0), ("starting kafka", 1.0), ("creating topics", 0.0), ("starting ingress", 0.5)]
)
def test_sigterm_half_way_through_starting_leaves_nothing(start: Callable[..., Dev], phase: str, delay_s: float):
    dev = start()
    dev.wait_for(lambda line: line.startswith(phase), UP_TIMEOUT_S)
    time.sleep(delay_s)
    family = dev.family()
    dev.process.send_signal(signal.SIGTERM)
    assert dev.wait_end(STOP_TIMEOUT_S) == 0
    assert not any("is up" in line for line in dev.lines)
    nothing_left(dev.data_dir, family)


def test_the_same_signal_twice_at_once_is_still_an_orderly_stop_and_ctrl_c_after_it_kills(start: Callable[..., Dev]):
    dev = start("--no-simulator")
    dev.wait_for(lambda line: line.startswith("EMS Streams is up"), UP_TIMEOUT_S)
    family = dev.family()
    worker = next(process for process in family if "worker" in process.cmdline())
    worker.suspend()
    dev.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    dev.process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert worker.is_running()
    dev.process.send_signal(signal.SIGINT)
    assert dev.wait_end(5.0) == 130
    nothing_left(dev.data_dir, family)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_sigkill_leaves_nothing_and_the_next_run_works(start: Callable[..., Dev]):
    first = start("--no-simulator")
    first.wait_for(lambda line: line.startswith("EMS Streams is up"), UP_TIMEOUT_S)
    family = first.family()
    first.process.kill()
    nothing_left(first.data_dir, family, within_s=10.0)
    second = start("--no-simulator", "--duration", "0")
    second.wait_for(lambda line: line.startswith("EMS Streams is up"), UP_TIMEOUT_S)
    assert second.wait_end(STOP_TIMEOUT_S) == 0


def test_a_second_run_on_the_same_data_is_refused(start: Callable[..., Dev]):
    first = start()
    first.wait_for(lambda line: line.startswith("starting kafka"), UP_TIMEOUT_S)
    second = start()
    assert second.wait_end(20.0) == 1
    assert f"process {first.process.pid}" in second.lines[-1]
    first.process.send_signal(signal.SIGTERM)
    assert first.wait_end(STOP_TIMEOUT_S) == 0


def event(name: str, **values: Any) -> Callable[[str], bool]:
    """Whether a line is that event with those values."""

    def is_it(line: str) -> bool:
        try:
            found = json.loads(line)
        except ValueError:
            return False
        return bool(found["event"] == name and all(found.get(key) == value for key, value in values.items()))

    return is_it

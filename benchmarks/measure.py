"""Measures one peer from outside: how far it is, what its processes and the broker cost, how much memory it takes.

All is sampled a few times a second by this process; a peer does not measure itself. Figures are those of the steady part: from a
fifth of the time after the first event on.
"""

import contextlib
import itertools
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from ems_streams.dev import launch as launcher

SAMPLE_INTERVAL_S = 0.2
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 45.0
WARM_UP_SHARE = 0.2
_COUNT = struct.Struct("<q")


class PeerFailedError(Exception):
    """A peer ended, or did not begin to work in time; the message has the end of its log."""


class Progress(ABC):
    """How many events a peer is through with."""

    @abstractmethod
    def read(self) -> int:
        """The count now."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more will be read."""


class FileProgress(Progress):
    """Counts that the instances of a peer keep in files mapped into memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._maps = []
        for path in paths:
            path.write_bytes(_COUNT.pack(0))
            with path.open("r+b") as file:
                self._maps.append(mmap.mmap(file.fileno(), _COUNT.size))

    def read(self) -> int:
        return sum(_COUNT.unpack_from(each, 0)[0] for each in self._maps)

    def close(self) -> None:
        for each in self._maps:
            each.close()


class GroupProgress(Progress):
    """What a consumer group has committed: events that are durably done with, seen later than with a count, never earlier."""

    def __init__(self, broker: str, group: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "log_level": 2})
        self._wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._last = 0

    def read(self) -> int:
        # A group that rebalances does not answer; it has not moved either.
        with contextlib.suppress(KafkaException):
            self._last = sum(max(tp.offset, 0) for tp in self._consumer.committed(self._wanted, timeout=5))
        return self._last

    def close(self) -> None:
        self._consumer.close()


class ProcessTree:
    """CPU time and peak memory of processes and all their descendants; what has ended still counts."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._cpu_s: dict[int, float] = {}
        self._peak_kib: dict[int, int] = {}

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(root)
                for each in (process, *process.children(recursive=True)):
                    self._look_at(each)
        return sum(self._cpu_s.values())

    @property
    def peak_mib(self) -> int:
        """Sum of the greatest resident set sizes."""
        return sum(self._peak_kib.values()) // 1024

    def _look_at(self, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.Error, OSError):
            times = process.cpu_times()
            self._cpu_s[process.pid] = times.user + times.system
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    self._peak_kib[process.pid] = int(line.split()[1])


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything."""

    at_s: float
    events: int
    peer_cpu_s: float
    broker_cpu_s: float
    machine_busy_s: float
    apparatus_cpu_s: float = 0.0
    """Of this process, and of others that belong to the measurement and not to what is measured."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the steady part of one run."""

    events: int
    seconds: float
    events_per_s: float
    cpu_us_per_event: float
    broker_us_per_event: float
    peak_mib: int
    cores: float
    other_cores: float
    """What took the machine meanwhile and does not belong here; the figures of a machine that was busy are worth nothing."""


def steady(samples: Sequence[Sample], peak_mib: int) -> Figures:
    """The figures between the first move of the count after the warm-up and its last move.

    Raises `PeerFailedError` when the count has moved too seldom for that.
    """
    moves = [after for before, after in itertools.pairwise(samples) if after.events > before.events]
    if len(moves) < 2:
        raise PeerFailedError(f"only {len(moves)} moves of its count in {samples[-1].at_s - samples[0].at_s:.0f} s: measure for longer")
    begin_s = moves[0].at_s + WARM_UP_SHARE * (moves[-1].at_s - moves[0].at_s)
    first, last = next(move for move in moves if move.at_s >= begin_s), moves[-1]
    events, seconds = last.events - first.events, last.at_s - first.at_s
    if events == 0:
        raise PeerFailedError("its count has not moved after the warm-up: measure for longer")
    peer_s = last.peer_cpu_s - first.peer_cpu_s
    broker_s = last.broker_cpu_s - first.broker_cpu_s
    known_s = peer_s + broker_s + last.apparatus_cpu_s - first.apparatus_cpu_s
    return Figures(
        events=events,
        seconds=seconds,
        events_per_s=events / seconds,
        cpu_us_per_event=peer_s / events * 1e6,
        broker_us_per_event=broker_s / events * 1e6,
        peak_mib=peak_mib,
        cores=peer_s / seconds,
        other_cores=(last.machine_busy_s - first.machine_busy_s - known_s) / seconds,
    )


class Instance:
    """One process of a peer, in a process group of its own, its output in a log."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path, log_file: Path) -> None:
        self.log_file = log_file
        # The kernel ends it when this process dies, however it dies.
        launch = (sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(int(signal.SIGKILL)), "-", "-")
        with log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                (*launch, *command), env=dict(environment), cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def check(self) -> None:
        """Raise `PeerFailedError` when it has ended."""
        if self._popen.poll() is not None:
            raise PeerFailedError(f"ended with {self._popen.returncode}: {self.log_tail()}")

    def wait(self, timeout_s: float) -> None:
        """Wait for an end by itself, with success; raises `PeerFailedError`."""
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise PeerFailedError(f"not done after {timeout_s:.0f} s: {self.log_tail()}") from None
        if code != 0:
            raise PeerFailedError(f"ended with {code}: {self.log_tail()}")

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def ended(self, timeout_s: float) -> bool:
        """Whether it ends by itself in time; it is gone in any case afterwards."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
            return False
        return True

    def log_tail(self) -> str:
        lines = [line for line in self.log_file.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-4:])[-600:] or "it said nothing"


def watch(
    instances: Sequence[Instance],
    progress: Progress,
    broker_pid: int,
    *,
    seconds: float,
    events: int,
    apparatus: Sequence[int] = (),
    on_sample: Callable[[int, float], None] = lambda _events, _share: None,
) -> Figures:
    """Sample until `seconds` after the first event, or until nearly all `events` are done; returns the figures.

    `apparatus` are processes that are there for the measurement; `on_sample` gets the events so far and the share of the time that is over.
    """
    tree, broker, others = ProcessTree(*(each.pid for each in instances)), ProcessTree(broker_pid), ProcessTree(*apparatus)
    samples: list[Sample] = []
    first_s: float | None = None
    started_s = time.monotonic()
    # The count of a peer may lag behind by what it writes at once.
    enough = events - 1000
    while True:
        for each in instances:
            each.check()
        sample = Sample(
            time.monotonic(), progress.read(), tree.cpu_s(), broker.cpu_s(), _machine_busy_s(), time.process_time() + others.cpu_s()
        )
        samples.append(sample)
        if first_s is None and sample.events > 0:
            first_s = sample.at_s
        if first_s is None and sample.at_s - started_s > START_TIMEOUT_S:
            raise PeerFailedError(f"no event after {START_TIMEOUT_S:.0f} s: {instances[0].log_tail()}")
        elapsed_s = 0.0 if first_s is None else sample.at_s - first_s
        on_sample(sample.events, min(elapsed_s / seconds, 1.0))
        if elapsed_s >= seconds or sample.events >= enough:
            return steady(samples, tree.peak_mib)
        time.sleep(SAMPLE_INTERVAL_S)


def stop(instances: Sequence[Instance]) -> bool:
    """End all of them; whether each ended orderly."""
    for each in instances:
        each.terminate()
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    ends = [each.ended(max(deadline_s - time.monotonic(), 1.0)) for each in instances]
    return all(ends)


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal

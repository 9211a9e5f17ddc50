"""Everything that is done to a system. Each fault counts itself in `System.faults`, and leaves the system able to recover."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Producer

from ems_streams.dev.server import Server
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from tests.chaos.commits import Commits
from tests.chaos.harness import SESSION_TIMEOUT_S, System
from tests.support.processes import get


@dataclass(slots=True)
class Kill:
    """SIGKILL of a random process of a kind, and its restart."""

    system: System
    kind: str

    def __call__(self) -> None:
        victims = [name for name in self.system.names(self.kind) if self.system.alive(name)]
        if not victims:  # all are just being started again after an end of their own
            return
        victim = self.system.random.choice(victims)
        self.system[victim].kill()
        self.system.faults[f"{self.kind} kill -9"] += 1
        self.system.restart(victim)


@dataclass(slots=True)
class KillInCommit:
    """SIGKILL of a random worker up to 8 ms after it was seen to write a commit of a table, and its restart.

    Counts how many have hit an open transaction: written, and not committed. Without a commit in time it is any other kill.
    """

    system: System
    table: str
    wait_s: float = 3.0
    after_s: float = 0.008

    def __call__(self) -> None:
        system = self.system
        victims = [name for name in system.names("worker") if system.alive(name)]
        if not victims:
            return
        victim = system.random.choice(victims)
        open_transactions = 0
        with Commits(system, victim, self.table) as commits:
            # Kafka may be on its way up from another fault.
            with contextlib.suppress(KafkaException):
                if commits.partitions and commits.wait_for_one(system.random.choice(commits.partitions), self.wait_s):
                    time.sleep(system.random.uniform(0.0, self.after_s))
            system[victim].kill()
            with contextlib.suppress(KafkaException):
                open_transactions = commits.open_transactions(commits.partitions)
        system.faults["worker kill -9 at a commit"] += 1
        system.faults["of these with a transaction open"] += bool(open_transactions)
        system.restart(victim)


@dataclass(slots=True)
class Pause:
    """SIGSTOP of a random process past its session, then SIGCONT."""

    system: System
    kind: str
    duration_s: float = SESSION_TIMEOUT_S + 2.0

    def __call__(self) -> None:
        victims = [name for name in self.system.names(self.kind) if self.system.alive(name)]
        if not victims:
            return
        popen = self.system[self.system.random.choice(victims)].popen
        popen.send_signal(signal.SIGSTOP)
        try:
            self.system.run_for(self.duration_s)
        finally:
            popen.send_signal(signal.SIGCONT)
        self.system.faults[f"{self.kind} paused {self.duration_s:g} s"] += 1
        self.system.run_for(3.0)


@dataclass(slots=True)
class Cut:
    """The network between a process and Kafka drops everything for a while; with `reset` the old connections are gone after it.

    Counts how many of these made the process say that it is not ready.
    """

    system: System
    name: str
    duration_s: float
    reset: bool = False

    def __call__(self) -> None:
        link = self.system.links[self.name]
        link.cut()
        try:
            self.system.run_for(self.duration_s)
            noticed = get(f"{self.system[self.name].url}/readyz")[0] == 503
        finally:
            link.heal(self.reset)
        self.system.faults[f"network of {self.name} cut for {self.duration_s:g} s{' and reset' if self.reset else ''}"] += 1
        self.system.faults["of these cuts noticed"] += noticed
        self.system.run_for(3.0)


@dataclass(slots=True)
class Junk:
    """Records that are no telemetry, from strangers straight into Kafka; each has other bytes."""

    system: System
    portion: int
    thrown: set[bytes] = field(default_factory=set)

    def __call__(self) -> None:
        producer = Producer({"bootstrap.servers": self.system.deployment.stack.kafka_bootstrap, "acks": "all", "enable.idempotence": True})
        for number in range(len(self.thrown), len(self.thrown) + self.portion):
            junk = f"junk-{number}".encode()
            producer.produce(DEVICE_TELEMETRY, key=f"junk-{number % 50}".encode(), value=junk)
            self.thrown.add(junk)
        assert producer.flush(30) == 0


@dataclass(slots=True)
class Terminate:
    """SIGTERM of a process; keeps how long each exit took and its code. The restart is another matter."""

    system: System
    deadline_s: float = 60.0
    took_s: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def __call__(self, *victims: str) -> None:
        """All victims at the same time."""
        started_s = time.monotonic()
        for victim in victims:
            self.system[victim].popen.send_signal(signal.SIGTERM)
        for victim in victims:
            try:
                code = self.system[victim].popen.wait(max(0.0, started_s + self.deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.system.ends.append(f"{victim} did not end within {self.deadline_s:g} s of SIGTERM")
                self.system.faults["SIGTERM in vain"] += 1
                self.system[victim].kill()
                code = -int(signal.SIGKILL)
            self.took_s.append(time.monotonic() - started_s)
            self.codes.append(code)
            self.system.faults["SIGTERM"] += 1


@dataclass(slots=True)
class RollingRestart:
    """SIGTERM and restart of each process of a kind, one after the other, each ready before the next."""

    system: System
    kind: str

    def __call__(self) -> None:
        for name in self.system.names(self.kind):
            Terminate(self.system)(name)
            self.system.restart(name)
            self.system.wait_ready()


@dataclass(slots=True)
class WipeDataDirs:
    """All workers are stopped, their state directories removed, and all are started again."""

    system: System

    def __call__(self) -> None:
        names = self.system.names("worker")
        Terminate(self.system)(*names)
        for name in names:
            shutil.rmtree(self.system.deployment.directory / name)
            self.system.faults["datadirs wiped"] += 1
            self.system.restart(name)
        self.system.wait_ready()


@dataclass(slots=True)
class ServerKill:
    """SIGKILL of a server, and its restart on the same data after `away_s`."""

    system: System
    server: Server
    away_s: float = 0.0

    def __call__(self) -> None:
        self.down()
        try:
            self.system.run_for(self.away_s)
        finally:
            self.up()
        self.system.faults[f"{self.server.name} outage of {self.away_s:g} s" if self.away_s else f"{self.server.name} kill -9"] += 1

    def down(self) -> None:
        asyncio.run(self.server.kill())

    def up(self) -> None:
        # In the calling thread: the kernel ends a server with the thread that started it.
        asyncio.run(self.server.start())

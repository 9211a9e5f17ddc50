"""Alerts about processes: each fires when its cause is put in, and is over by what the runbook advises."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.everything import everything
from tests.chaos.harness import System
from tests.chaos.rehearsal import Rehearsal, needs_prometheus, rehearsing
from tests.support.processes import Running, get

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), needs_prometheus]

SETTLED_S = 20.0
SESSION_TIMEOUT_S = 10.0
"""Longer than workers are stopped here, and long enough to be seen after a kill."""
MIB = 1024 * 1024


def test_alerts_of_processes(system: System, tmp_path: Path) -> None:
    system.deployment.extra["EMS_KAFKA_SESSION_TIMEOUT_S"] = f"{SESSION_TIMEOUT_S:g}"
    with everything(system, tmp_path), rehearsing(system, tmp_path, "Processes") as rehearsal:
        system.run_for(SETTLED_S)
        rehearsal.play(
            {
                "restarts": lambda: _gone_and_back(rehearsal),
                "late": lambda: _late(rehearsal),
                "stuck": lambda: _stuck(rehearsal),
                "descriptors": lambda: _descriptors(rehearsal),
                "workers": lambda: _workers(rehearsal),
                "ingress": lambda: _ingress(rehearsal),
            }
        )


def test_alerts_of_disks(small_disk: Path, system: System, tmp_path: Path) -> None:
    with everything(system, tmp_path), rehearsing(system, tmp_path, "Disks") as rehearsal:
        system.run_for(SETTLED_S)
        rehearsal.play({"disk": lambda: _disk(rehearsal, small_disk)})


def _gone_and_back(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    for number in range(3):
        down(system, "gateway")
        if not number:
            rehearsal.fires("EmsProcessDown", "gateway killed")
        up(system, "gateway", system.deployment.gateway)
        if not number:
            rehearsal.ends("EmsProcessDown", "started again")
        system.wait_ready()
        # Scraped at least once.
        system.run_for(2.0)
    rehearsal.fires("EmsRestarting", "gateway killed and started three times")


def _late(rehearsal: Rehearsal) -> None:
    """A process that gets no processor is what a throttled container looks like from inside."""
    system = rehearsal.system
    rehearsal.fires("EmsLoopLate", "gateway stopped for 3 s again and again", look=lambda: stop_for(3.0, system, "gateway"))
    workers = system.names("worker")
    rehearsal.fires(
        "EmsLatencyHigh", "both workers stopped for 5.5 s again and again, under load", look=lambda: stop_for(5.5, system, *workers)
    )


def _stuck(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    for _ in range(3):
        stop_for(11.0, system, "sink-0")
        system.run_for(1.5)
    rehearsal.fires("EmsNotLive", "sink stopped for 11 s three times: check `loop`")
    down(system, "sink-0")
    up(system, "sink-0", system.deployment.sink)
    rehearsal.ends("EmsNotLive", "restarted, as a supervisor does")


def _descriptors(rehearsal: Rehearsal) -> None:
    gateway = psutil.Process(rehearsal.system["gateway"].popen.pid)
    before = gateway.rlimit(psutil.RLIMIT_NOFILE)
    gateway.rlimit(psutil.RLIMIT_NOFILE, (int(gateway.num_fds() * 1.1), before[1]))
    try:
        rehearsal.fires(
            "EmsFileDescriptors", f"limit of the gateway set to {gateway.rlimit(psutil.RLIMIT_NOFILE)[0]}, {gateway.num_fds()} open"
        )
    finally:
        gateway.rlimit(psutil.RLIMIT_NOFILE, before)
    rehearsal.ends("EmsFileDescriptors", "limit raised")


def _workers(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    down(system, "worker-1")
    rehearsal.fires("EmsPartitionUnowned", "one worker of two killed, until its session has run out", within_s=20)
    rehearsal.ends("EmsPartitionUnowned", "nothing: the other one takes over")

    def come_and_go() -> None:
        up(system, "worker-1", lambda: system.deployment.worker(1))
        system.wait_ready()
        down(system, "worker-1")
        system.run_for(SESSION_TIMEOUT_S + 2.0)

    rehearsal.fires("EmsRebalancing", "a worker that comes and is killed, again and again", look=come_and_go, within_s=240)
    down(system, "worker-0")

    def ask() -> None:
        for number in range(1, 21):
            get(f"{system['gateway'].url}/api/v1/devices/C-INV-{number:05d}")

    rehearsal.fires("EmsWorkersDoNotAnswer", "no worker runs")
    rehearsal.fires("EmsGatewayErrors", "no worker runs, and the gateway is asked for devices", look=ask)
    up(system, "worker-0", lambda: system.deployment.worker(0))
    rehearsal.ends("EmsWorkersDoNotAnswer", "a worker started")
    up(system, "worker-1", lambda: system.deployment.worker(1))
    rehearsal.ends("EmsGatewayErrors", "the same, and asked again", look=ask)


def _ingress(rehearsal: Rehearsal) -> None:
    system, deployment = rehearsal.system, rehearsal.system.deployment
    twin = deployment.ingress(1, EMS_INGRESS_ID=f"{deployment.application_id}-ingress-0")
    rehearsal.fires("EmsMqttReconnecting", "a second ingress with the same EMS_INGRESS_ID")
    twin.terminate()
    down(system, "ingress-0")
    rehearsal.fires("EmsIngestStopped", "no ingress runs")
    up(system, "ingress-0", deployment.ingress)
    rehearsal.ends("EmsIngestStopped", "an ingress started")


def _disk(rehearsal: Rehearsal, disk: Path) -> None:
    system = rehearsal.system
    up(system, "worker-2", lambda: system.deployment.worker(2, EMS_DATA_DIR=str(disk)))
    system.wait_ready()
    rehearsal.watch()
    filling = disk / "filling"
    fill(filling, 170)

    def fill_on() -> None:
        fill(filling, 0.25)

    rehearsal.fires("EmsDiskFillingSoon", "a disk of 256 MiB, two thirds full, gets half a MiB a second", look=fill_on)
    while psutil.disk_usage(str(disk)).free > 20 * MIB:
        fill(filling, 1)
    rehearsal.fires("EmsDiskFilling", "20 MiB of 256 left")
    filling.unlink()
    rehearsal.ends("EmsDiskFilling", "files removed")


def fill(path: Path, mib: float) -> None:
    with path.open("ab") as file:
        file.write(bytes(round(mib * MIB)))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 256 MiB, in memory; who may not mount one skips the test of it, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="ems-disk-") as directory:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", directory], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "-l", directory], check=False)


def down(system: System, name: str) -> None:
    """Killed, and not started again."""
    system.forget(name).kill()


def up(system: System, name: str, start: Callable[[], Running]) -> None:
    system.add(name, start)


def stop_for(duration_s: float, system: System, *names: str) -> None:
    """They get no processor for so long; returns when each runs again, and so has noticed how late it was."""
    processes = [system[name] for name in names]
    for process in processes:
        process.popen.send_signal(signal.SIGSTOP)
    try:
        time.sleep(duration_s)
    finally:
        for process in processes:
            process.popen.send_signal(signal.SIGCONT)
    for process in processes:
        # Its timers are due before it looks at a request that came after it was let go on.
        assert system.settled(lambda url=process.url: get(f"{url}/livez")[0], 30.0), f"{process.name} does not run again"

"""`ems-streams dev` as a process of its own, whose lines are read as they come."""

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

SERVER_SETTINGS = ("KAFKA_BOOTSTRAP_SERVERS", "MQTT_URL", "DATABASE_URL")


class Dev:
    """A running command whose lines are read as they come."""

    def __init__(self, data_dir: Path, *options: str, **env: str) -> None:
        own = {name: value for name, value in os.environ.items() if name.removeprefix("EMS_") not in SERVER_SETTINGS}
        self.data_dir = data_dir
        self.lines: list[str] = []
        self._incoming: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            (sys.executable, "-m", "ems_streams", "dev", "--headless", "--data-dir", str(data_dir), *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=own | env,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._incoming.put(line.rstrip("\n"))
        self._incoming.put(None)

    def wait_for(self, wanted: Callable[[str], bool], timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._incoming.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError("\n".join(["not seen in time; the lines were:", *self.lines])) from None
            if line is None:
                raise AssertionError("\n".join(["ended before; the lines were:", *self.lines]))
            self.lines.append(line)
            if wanted(line):
                return line

    def wait_end(self, timeout_s: float) -> int:
        code = self.process.wait(timeout_s)
        while (line := self._incoming.get(timeout=5.0)) is not None:
            self.lines.append(line)
        return code

    def kill(self) -> None:
        for process in [*self.family(), self.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self._reader.join(5.0)

    def family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

"""The data directory of the dev stack: one run at a time, and a clean start when asked for."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ems_streams.errors import EmsError, SettingError

LOCK_FILE = "dev.lock"
# What the servers and workers keep; downloads are not among it, they stay as they are.
_OURS = ("kafka", "artemis", "postgres", "logs", "worker-*", "replay-*")


class InUseError(EmsError):
    """Another `ems-streams dev` runs on the data directory."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the directory for this process; made when missing. The lock ends with the process, however it ends.

    Raises:
        InUseError: Another process holds it; names its process id.
        SettingError: The directory cannot be made or written to.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingError("EMS_DATA_DIR", str(data_dir), f"must be a directory that can be written to ({error.strerror})") from None
    try:
        _take(descriptor, data_dir)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise InUseError(
            f"another `ems-streams dev` (process {holder}) runs on {data_dir}; stop it, or choose another --data-dir and --port-offset"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def wipe(data_dir: Path) -> list[str]:
    """Remove what servers and workers keep below the directory, and nothing else; returns the names of what was removed.

    Call it only while the directory is locked. Symbolic links are left alone, with what they lead to.
    """
    removed = []
    for pattern in _OURS:
        for path in sorted(data_dir.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
                removed.append(path.name)
    return removed


def rotate(log_file: Path) -> None:
    """Keep the log of the run before as `NAME.log.1`."""
    if log_file.exists():
        log_file.replace(log_file.with_name(log_file.name + ".1"))

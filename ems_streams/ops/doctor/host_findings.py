"""What is wrong with clocks, disks and the state directories on them."""

from collections.abc import Iterable, Iterator

from ems_streams.ops.doctor.findings import Finding, finding

CLOCK_TOLERANCE_S = 5.0
"""Far less than `EMS_QUIET_DEVICE_S`, and more than a slow answer can feign."""
LOW_SHARE, LOW_BYTES = 0.10, 2 * 1024**3
FULL_SHARE, FULL_BYTES = 0.02, 256 * 1024**2


def clock_findings(whose: str, ahead_s: float, uncertain_s: float, than: str = "this machine's clock") -> Iterator[Finding]:
    """A clock that differs by more than the tolerance and what the measurement leaves open."""
    if abs(ahead_s) > CLOCK_TOLERANCE_S + uncertain_s:
        direction = "ahead of" if ahead_s > 0 else "behind"
        found = f"{abs(ahead_s):.1f} s {direction} {than}"
        yield finding("clock-differs", f"the clock of {whose} differs", found=found, expected=f"within {CLOCK_TOLERANCE_S:g} s")


def disk_findings(directory: str, total: int, free: int) -> Iterator[Finding]:
    """Little space, as a share and in bytes: a tenth of a large disk is enough, and a tenth of a small one may not be."""
    found = f"{size(free)} of {size(total)} free"
    if free < min(FULL_BYTES, total * LOW_SHARE) or (free < total * FULL_SHARE and free < LOW_BYTES):
        yield finding("disk-full", f"the disk of {directory} is all but full", found=found, expected=_enough(total), directory=directory)
    elif free < LOW_BYTES or (free < total * LOW_SHARE and free < 5 * LOW_BYTES):
        yield finding("disk-low", f"the disk of {directory} has little space", found=found, expected=_enough(total), directory=directory)


def stale_state_findings(directories: Iterable[tuple[str, str, int]], running: Iterable[str]) -> Iterator[Finding]:
    """State directories (worker id, path and bytes) of workers that are not in the group."""
    alive = set(running)
    for worker_id, path, held in directories:
        if worker_id not in alive:
            found = f"{path} with {size(held)}"
            yield finding("state-stale", f"no worker {worker_id!r} runs", found=found, expected="a worker of that id", directory=path)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _enough(total: int) -> str:
    return f"at least {size(min(max(LOW_BYTES, total * LOW_SHARE), 5 * LOW_BYTES))}"

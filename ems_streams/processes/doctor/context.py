"""What every check is given: settings, a clock and the machine, so that a test can pass in others."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ems_streams.settings import Settings

Disk = tuple[int, int]
"""Bytes in all, and free."""


def _disk(directory: Path) -> Disk:
    usage = shutil.disk_usage(directory)
    return usage.total, usage.free


@dataclass(frozen=True, slots=True)
class Context:
    """What checks look at.

    Attributes:
        settings: Where everything is.
        http: For asking our own processes.
        now_s: This machine's clock, seconds since 1970.
        disk: Space of the disk of a directory.
    """

    settings: Settings
    http: aiohttp.ClientSession
    now_s: Callable[[], float] = time.time
    disk: Callable[[Path], Disk] = field(default=_disk)

"""What is freed goes back to the system, also when something that lives stands behind it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ems_streams.ops import garbage

MIB = 1024 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is asked on Linux only, where processes are deployed")
def test_pages_in_the_middle_of_the_heap_are_given_back() -> None:
    process = psutil.Process()
    # Of a kilobyte each: larger than what Python allocates itself, and smaller than what the allocator maps one by one.
    freed = [bytes(1024) for _ in range(100_000)]
    behind = [bytes(1024) for _ in range(100)]
    del freed
    before = process.memory_info().rss
    assert garbage.give_back()
    assert before - process.memory_info().rss > 50 * MIB
    assert len(behind) == 100


ARENAS = """
import ctypes, sys, threading
from ems_streams.ops import garbage

if sys.argv[1] == "settled":
    garbage.settle()
here = threading.Barrier(9)

def need() -> None:
    held = [bytes(1024) for _ in range(100)]
    here.wait()

threads = [threading.Thread(target=need) for _ in range(8)]
for thread in threads:
    thread.start()
here.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is asked on Linux only, where processes are deployed")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    def arenas(how: str) -> int:
        file = tmp_path / how
        environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        subprocess.run([sys.executable, "-c", ARENAS, how, str(file)], check=True, env=environment)
        return file.read_text().count("<heap nr=")

    assert arenas("as it is") > 4
    assert arenas("settled") == 1

"""What is freed goes back to the system, also when something that lives stands behind it."""

import sys

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

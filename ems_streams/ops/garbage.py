"""Memory: Python's cyclic garbage collector and the allocator of C, set for processes that hold much, make few cycles, and now and then need a lot at once."""

import contextlib
import ctypes
import gc
import os
import sys
import threading
from typing import Final

YOUNG_OBJECTS = 20_000
"""Objects made and not freed before the youngest are looked at; Python's own 700 is reached within one batch of records."""

GIVEN_BACK_EVERY_S: Final = 5.0
"""It takes some ten milliseconds for 100 MiB, in which other threads wait if they allocate."""
_M_ARENA_MAX: Final = -8
"""As in glibc's `malloc.h`."""


def settle() -> None:
    """Call when a process has imported and built what it needs: that is never looked at again, and the rest seldom."""
    gc.collect()
    gc.freeze()
    _, middle, old = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, middle, old)
    _share_one_arena()
    threading.Thread(target=_give_back_again_and_again, name="give-back-memory", daemon=True).start()


def _share_one_arena() -> None:
    """Let threads take memory from one place; glibc gives up to eight for each core, and what the threads of RocksDB need for a compaction stays in each of them.

    Where `MALLOC_ARENA_MAX` is set, whoever set it knows better.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(AttributeError, OSError):  # not glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> bool:
    """Give pages that nothing is on back to the system, as glibc does not by itself: it would keep what a commit of some 100 MB once needed, wherever something
    lives behind it. False where there is no such thing.

    To have large blocks mapped one by one instead was tried: each page is then made anew for each batch, which cost a quarter of the throughput.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)
            return True
    return False


def _give_back_again_and_again() -> None:
    resting = threading.Event()
    while give_back():
        resting.wait(GIVEN_BACK_EVERY_S)

"""Memory: Python's cyclic garbage collector and the allocator of C, set for processes that hold much, make few cycles, and now and then need a lot at once."""

import contextlib
import ctypes
import gc
import sys

YOUNG_OBJECTS = 20_000
"""Objects made and not freed before the youngest are looked at; Python's own 700 is reached within one batch of records."""

MAPPED_BYTES = 128 * 1024
"""Blocks from this size on are given back as soon as they are freed."""
_M_MMAP_THRESHOLD = -3


def settle() -> None:
    """Call when a process has imported and built what it needs: that is never looked at again, and the rest seldom."""
    gc.collect()
    gc.freeze()
    _, middle, old = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, middle, old)
    give_back_large_blocks()


def give_back_large_blocks() -> None:
    """Keep what glibc begins with: it would raise the limit to the size of the largest block that was ever freed, up to 32 MiB, and from then on keep what a
    commit of some 100 MB once needed, cut into pieces by what lives longer.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # not glibc
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)

"""Python's cyclic garbage collector, set for processes that hold much and make few cycles."""

import gc

YOUNG_OBJECTS = 20_000
"""Objects made and not freed before the youngest are looked at; Python's own 700 is reached within one batch of records."""


def settle() -> None:
    """Call when a process has imported and built what it needs: that is never looked at again, and the rest seldom."""
    gc.collect()
    gc.freeze()
    _, middle, old = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, middle, old)

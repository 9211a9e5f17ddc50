"""Waiting for what Kafka has agreed to and tells nobody of: it can only be asked again."""

import time
from collections.abc import Callable
from typing import Final

PAUSE_S: Final = 0.1


def settles(look: Callable[[], bool], timeout_s: float) -> bool:
    """Whether what is looked for is there within so long; looks at least once, and sleeps in between: for a thread, not for an event loop."""
    give_up_at_s = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > give_up_at_s:
            return False
        time.sleep(PAUSE_S)
    return True

"""How often, and how patiently, a message that cannot be processed is tried again before it goes to the dead letters."""

import stamina

ATTEMPTS_MAX = 4
"""The first attempt and three retries."""

WAIT_INITIAL_S = 0.02
WAIT_JITTER_S = 0.02
"""Short, since what is retried is in memory and all that follows waits: one message in a hundred may fail without the stream falling behind."""


def attempts() -> stamina._core._RetryContextIterator:
    """Attempts for an `async for`, with exponential backoff and jitter in between; the last failure is raised."""
    return stamina.retry_context(on=Exception, attempts=ATTEMPTS_MAX, timeout=None, wait_initial=WAIT_INITIAL_S, wait_jitter=WAIT_JITTER_S)

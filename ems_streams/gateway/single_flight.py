"""Answers shared by everybody who asks the same at nearly the same time, so that many viewers cost as much as one."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one call per key at a time and hands its result to all who wait, and to those who come within `fresh_s`.

    A failure is given to those who waited, and is not kept. A caller that gives up does not cancel the others' call.

    Args:
        fresh_s: How old a result may be.
        capacity: Most keys kept.
    """

    def __init__(self, fresh_s: float, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s = fresh_s
        self._capacity = capacity
        self._clock = clock
        self._calls: OrderedDict[Hashable, tuple[float, asyncio.Task[T]]] = OrderedDict()

    async def get(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result for a key, by calling `call` only when there is none fresh enough."""
        now = self._clock()
        started, task = self._calls.get(key, (0.0, None))
        if task is None or (task.done() and (now - started > self._fresh_s or failed(task))):
            task = asyncio.ensure_future(_run(call))
            self._calls[key] = (now, task)
            self._calls.move_to_end(key)
            self._shrink()
        return await asyncio.shield(task)

    def _shrink(self) -> None:
        while len(self._calls) > self._capacity:
            self._calls.popitem(last=False)


async def _run(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


def failed(task: asyncio.Task[T]) -> bool:
    """Whether a finished task has no result."""
    return task.cancelled() or task.exception() is not None

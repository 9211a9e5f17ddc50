"""Publishes on schedule and keeps the books: what is due goes out, what the broker acknowledges goes into the ledger."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Protocol

import structlog

from ems_streams.dev.simulator.faults import FaultPlan
from ems_streams.dev.simulator.ledger import LedgerWriter
from ems_streams.dev.simulator.publications import Kind, Publication
from ems_streams.dev.simulator.summary import Progress, Summary
from ems_streams.errors import EmsError

log = structlog.get_logger(__name__)

_IDLE_SLICE_S = 0.2
_SHORTEST_SLEEP_S = 0.002
_BURST = 64
_FLUSH_EVERY_S = 1.0


class Publisher(Protocol):
    """A connection to the broker that publishes with QoS 1."""

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Coroutine[Any, Any, None]:
        """Return when the broker has acknowledged; callers that start one after the other keep their order."""


class Runner:
    """One run over a set of connections; a device always uses the same one.

    The schedule is open-loop: a message is due when it is due, however long the ones before it take, up to `max_in_flight`
    unacknowledged messages. Behind schedule, it publishes as fast as it can and leaves nothing out.

    Args:
        publishers: Connections to spread the devices over.
        plan: Makes publications of readings.
        ledger: Told of every acknowledgement.
        max_in_flight: Unacknowledged messages at which publishing pauses.
        drain_timeout_s: How long to wait at the end for what is still unacknowledged.
    """

    def __init__(
        self,
        publishers: Sequence[Publisher],
        plan: FaultPlan,
        ledger: LedgerWriter,
        *,
        max_in_flight: int = 4000,
        drain_timeout_s: float = 30.0,
    ) -> None:
        self._publishers = publishers
        self._plan = plan
        self._ledger = ledger
        self._max_in_flight = max_in_flight
        self._drain_timeout_s = drain_timeout_s
        self._in_flight: dict[asyncio.Task[None], Publication] = {}
        self._room = asyncio.Event()
        self._stop = asyncio.Event()
        self._give_up = asyncio.Event()
        self._published: Counter[Kind] = Counter()
        self._acknowledged = 0
        self._refused = 0
        self._lag_s = self._max_lag_s = 0.0
        self._started_s = 0.0

    def stop(self) -> None:
        """End in order: publish nothing more, wait for acknowledgements. Asked a second time, do not wait for them."""
        if self._stop.is_set():
            self._give_up.set()
        self._stop.set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the run; 0 before it."""
        return asyncio.get_running_loop().time() - self._started_s if self._started_s else 0.0

    def publish_now(self, publication: Publication) -> None:
        """Publish something that is due now, between what is on schedule."""
        self._publish(publication)

    def progress(self) -> Progress:
        """Where the run is now."""
        return Progress(self.elapsed_s, self._published.total(), self._acknowledged, len(self._in_flight), self._lag_s)

    async def run(self, publications: Iterator[Publication], goodbye: bool = False) -> Summary:
        """Publish all of them, or until `stop`, and return when everything is acknowledged or given up."""
        loop = asyncio.get_running_loop()
        self._started_s = loop.time()
        flusher = asyncio.create_task(self._flush_now_and_then())
        try:
            await self._publish_on_schedule(publications)
            for publication in self._plan.finish(loop.time() - self._started_s, goodbye):
                await self._wait_for_room()
                self._publish(publication)
            published_s = loop.time() - self._started_s
            await self._drain()
        finally:
            flusher.cancel()
            unacknowledged = self._abandon()
            self._ledger.flush()
        return Summary.of(
            self._published,
            acknowledged=self._acknowledged,
            ledger_lines=self._ledger.lines,
            unacknowledged=unacknowledged,
            refused=self._refused,
            duration_s=max(published_s, 1e-9),
            max_lag_s=self._max_lag_s,
            stopped=self._stop.is_set(),
        )

    async def _publish_on_schedule(self, publications: Iterator[Publication]) -> None:
        loop = asyncio.get_running_loop()
        burst = 0
        for publication in publications:
            if not await self._wait_until(self._started_s + publication.due_s) or not await self._wait_for_room():
                return
            if publication.kind is Kind.TURN:
                continue
            self._publish(publication)
            self._lag_s = max(0.0, loop.time() - self._started_s - publication.due_s) if publication.due_s else 0.0
            self._max_lag_s = max(self._max_lag_s, self._lag_s)
            burst = (burst + 1) % _BURST
            if not burst:
                # Acknowledgements are read even when there is never a moment of rest.
                await asyncio.sleep(0)

    async def _wait_until(self, moment_s: float) -> bool:
        """Sleep until a moment of the loop's clock; false when the run is to stop."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            ahead_s = moment_s - loop.time()
            if ahead_s <= 0.0:
                return True
            await asyncio.sleep(min(_IDLE_SLICE_S, max(_SHORTEST_SLEEP_S, ahead_s)))
        return False

    async def _wait_for_room(self) -> bool:
        """Wait while too much is in flight; false when the run is to stop."""
        while len(self._in_flight) >= self._max_in_flight:
            if self._stop.is_set():
                return False
            self._room.clear()
            await _either(self._room, self._stop, timeout_s=None)
        return True

    def _publish(self, publication: Publication) -> None:
        self._published[publication.kind] += 1
        publisher = self._publishers[publication.lane % len(self._publishers)]
        # Tasks start in the order of their creation, and so do their publishes: the order within a device is kept.
        task = asyncio.create_task(publisher.publish(publication.topic, publication.payload))
        self._in_flight[task] = publication
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        publication = self._in_flight.get(task)
        if publication is None or task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._acknowledged += 1
            self._ledger.acknowledged(publication)
            del self._in_flight[task]
        else:
            self._refuse(task, publication, error)
        self._room.set()

    def _refuse(self, task: asyncio.Task[None], publication: Publication, error: BaseException) -> None:
        """A refusal is final: the message is not in the broker, and so in none of the files."""
        if not self._refused:
            log.error("simulator_publish_refused", topic=publication.topic, kind=publication.kind.value, error=str(error))
        self._refused += 1
        del self._in_flight[task]
        if not isinstance(error, EmsError):
            raise error

    async def _drain(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._drain_timeout_s
        while self._in_flight and not self._give_up.is_set():
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0.0:
                return
            self._room.clear()
            await _either(self._room, self._give_up, timeout_s=left_s)

    def _abandon(self) -> int:
        """Give up what is still in flight; returns how much that is."""
        for task, publication in self._in_flight.items():
            task.cancel()
            self._ledger.unacknowledged(publication)
        return len(self._in_flight)

    async def _flush_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_EVERY_S)
            self._ledger.flush()


async def _either(first: asyncio.Event, second: asyncio.Event, timeout_s: float | None) -> None:
    """Wait for one of two events, or for the time."""
    waits = [asyncio.create_task(first.wait()), asyncio.create_task(second.wait())]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()

"""What all workers together know: each is asked at once, and who does not answer in time is left out, and said to be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import aiohttp
import structlog

from ems_streams.gateway.coverage import Coverage
from ems_streams.gateway.forwarding import no_worker
from ems_streams.gateway.topology import Topology
from ems_streams.ops.request_ids import passed_on

log = structlog.get_logger(__name__)


class Answer(Protocol):
    """What one worker says, and of which partitions."""

    @property
    def partitions(self) -> frozenset[int]: ...


A = TypeVar("A", bound=Answer)


class EveryWorker:
    """Asks all live workers, each request with the deadline `timeout_s`."""

    def __init__(self, session: aiohttp.ClientSession, topology: Topology, timeout_s: float) -> None:
        self._session = session
        self._topology = topology
        self._timeout_s = timeout_s

    async def answers(self, ask: Callable[[str], Awaitable[A]]) -> tuple[Coverage, list[A]]:
        """How much of the fleet answered, and what; a 503 problem when no worker does.

        Args:
            ask: Asks the worker of an address; raises `ValueError` when what it says cannot be used.
        """
        as_of = datetime.now(UTC)
        asked = await asyncio.gather(*(self._or_none(url, ask(url)) for url in self._topology.live()))
        heard = [answer for answer in asked if answer is not None]
        if not heard:
            raise no_worker()
        answered = frozenset[int]().union(*(answer.partitions for answer in heard))
        return Coverage(as_of, max(self._topology.view.partitions, len(answered)), len(answered)), heard

    async def get(self, url: str, query: Mapping[str, str]) -> bytes:
        """Body of an answer of 200; raises `ValueError` for any other, and whatever the client raises."""
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with self._session.get(url, params=query, timeout=timeout, headers=passed_on(), allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return await response.read()

    async def _or_none(self, url: str, call: Awaitable[A]) -> A | None:
        try:
            return await call
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.warning("worker did not answer", url=url, error=f"{type(error).__name__}: {error}")
            self._topology.report_failure()
            return None

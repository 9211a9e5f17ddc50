"""Which workers there are, which partitions each of them has, and which of them answer."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
import structlog

from ems_streams.kafka.partitioner import partition_for

log = structlog.get_logger(__name__)

REFRESH_S = 2.0
PROBE_TIMEOUT_S = 1.0
MISSES_ALLOWED = 2
"""A busy worker may be late with an answer; one that refuses the connection is away at once."""
MIN_PAUSE_S = 0.2
"""A storm of failed calls must not become a storm of probes."""


@dataclass(frozen=True, slots=True)
class View:
    """What the workers last said of themselves.

    Attributes:
        generation: Of the assignment; grows with every rebalance.
        partitions: How many partitions there are; 0 while no worker has answered yet.
        owners: Partitions by the address of their worker.
        live: Workers that answered the last probe.
    """

    generation: int = -1
    partitions: int = 0
    owners: Mapping[str, frozenset[int]] = field(default_factory=dict)
    live: frozenset[str] = frozenset()

    def owner_of(self, serial_number: str) -> str | None:
        """The worker that has the partition of a device, as far as is known."""
        if not self.partitions:
            return None
        partition = partition_for(serial_number.encode(), self.partitions)
        return next((url for url, owned in self.owners.items() if partition in owned), None)


class Topology:
    """Keeps a `View` fresh: learns all workers from any one, every two seconds and after each failed call.

    Never fails because workers are away: the view then has no live ones.

    Args:
        seeds: Addresses to ask first, such as `http://127.0.0.1:6066`.
    """

    def __init__(self, session: aiohttp.ClientSession, seeds: Iterable[str], refresh_s: float = REFRESH_S) -> None:
        self._session = session
        self._seeds = tuple(dict.fromkeys(seed.strip().rstrip("/") for seed in seeds if seed.strip()))
        self._refresh_s = refresh_s
        self._wanted = asyncio.Event()
        self._turn = 0
        self._misses: dict[str, int] = {}
        self._denied: set[str] = set()
        self._conditions: dict[str, dict[str, Any]] = {}
        self.view = View()

    def live(self) -> list[str]:
        """Workers that answer, each call beginning with another one; all known ones when none does."""
        workers = sorted(self.view.live or self.view.owners)
        if not workers:
            return []
        self._turn = (self._turn + 1) % len(workers)
        return workers[self._turn :] + workers[: self._turn]

    def report_failure(self) -> None:
        """A call to a worker failed: look at all of them again at once."""
        self._wanted.set()

    def condition(self, url: str) -> Mapping[str, Any]:
        """What a worker said of itself when it answered last; nothing of one that does not answer."""
        return self._conditions.get(url, {}) if url in self.view.live else {}

    async def run(self) -> None:
        """Refreshes until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(MIN_PAUSE_S)
            try:
                async with asyncio.timeout(self._refresh_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()

    async def refresh(self) -> None:
        """Asks the seeds and all known workers, then the ones learnt from them."""
        answers: dict[str, View | None] = {}
        targets = {*self._seeds, *self.view.owners}
        while targets - answers.keys():
            asked = sorted(targets - answers.keys())
            results = await asyncio.gather(*(self._probe(url) for url in asked))
            answers.update(zip(asked, results, strict=True))
            targets |= {url for view in results if view is not None for url in view.owners}
        self._adopt({url: view for url, view in answers.items() if view is not None})

    def _adopt(self, answers: Mapping[str, View]) -> None:
        before = self.view
        newest = max(answers.values(), key=lambda view: (view.generation, len(view.owners)), default=before)
        live = frozenset(url for url in newest.owners if url in answers or self._is_only_late(url))
        self.view = View(newest.generation, newest.partitions, newest.owners, live)
        self._conditions = {url: said for url, said in self._conditions.items() if url in newest.owners}
        if live != before.live:
            log.info("workers changed", live=sorted(live), partitions=newest.partitions)

    def _is_only_late(self, url: str) -> bool:
        return url in self.view.live and 0 < self._misses.get(url, 0) <= MISSES_ALLOWED

    async def _probe(self, url: str) -> View | None:
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
            async with self._session.get(f"{url}/internal/v1/topology", timeout=timeout, allow_redirects=False) as response:
                self._misses.pop(url, None)
                self._tell_of_token(url, denied=response.status == HTTPStatus.UNAUTHORIZED)
                return self._understand(url, await response.read()) if response.status == 200 else None
        except TimeoutError:
            self._misses[url] = self._misses.get(url, 0) + 1
        except (aiohttp.ClientError, OSError, ValueError):
            self._misses.pop(url, None)
        return None

    def _tell_of_token(self, url: str, *, denied: bool) -> None:
        """Once, when a worker begins to refuse what it is shown."""
        if denied and url not in self._denied:
            log.error("worker_refuses_internal_token", url=url, detail="gateway and workers need the same EMS_INTERNAL_TOKEN")
        (self._denied.add if denied else self._denied.discard)(url)

    def _understand(self, url: str, body: bytes) -> View:
        view = parse_topology(body)
        said = orjson.loads(body).get("condition")
        self._conditions[url] = said if isinstance(said, dict) else {}
        return view


def parse_topology(body: bytes) -> View:
    """A worker's answer as a view without liveness; raises `ValueError` when it is not one."""
    document = orjson.loads(body)
    try:
        owners = {str(url).rstrip("/"): frozenset(map(int, owned)) for url, owned in document["workers"].items()}
        return View(max(0, int(document["generation"])), int(document["partitions"]), owners)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a topology: {error!r}") from None

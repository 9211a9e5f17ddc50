"""Handing a question on to the worker that has the answer, or to any other that can hand it on itself."""

import time
from collections.abc import Mapping

import aiohttp
import structlog
from aiohttp import web

from ems_streams.gateway.topology import Topology
from ems_streams.ops.http import ProblemError
from ems_streams.ops.request_ids import passed_on

log = structlog.get_logger(__name__)

TRY_ANOTHER = frozenset({500, 502, 503, 504})
_NOT_LET_IN = frozenset({401, 403})
_HEADERS_PASSED_BACK = ("Retry-After", "Content-Type")
NO_WORKER = "No worker answers at the moment; the live tables are back as soon as one does."


def no_worker() -> ProblemError:
    """What people get while no worker can be reached."""
    return ProblemError(503, "No worker is reachable", NO_WORKER, headers={"Retry-After": "2"})


class Forwarder:
    """Asks the owner of a key's partition first.

    A worker that cannot be reached, or that answers with a server error, is followed by the next one, all within one deadline.
    """

    def __init__(self, session: aiohttp.ClientSession, topology: Topology, timeout_s: float) -> None:
        self._session = session
        self._topology = topology
        self._timeout_s = timeout_s
        self._refusing: set[str] = set()

    async def forward(self, key: str, path: str, query: Mapping[str, str]) -> web.Response:
        """The answer of a worker to a path and query; a problem of 503 or 504 when none answers.

        Args:
            key: Of the records that the answer is made of, which decides whom to ask.
            path: The same on every worker.
            query: Parameters.
        """
        workers = self._candidates(key)
        give_up_at = time.monotonic() + self._timeout_s
        refusal: web.Response | None = None
        timed_out = False
        for index, url in enumerate(workers):
            remaining_s = give_up_at - time.monotonic()
            if remaining_s <= 0:
                break
            # Half of what is left for each but the last: one worker that hangs must not use up the deadline.
            share_s = remaining_s if index == len(workers) - 1 else remaining_s / 2
            try:
                answer = await self._ask(url + path, query, share_s)
            except TimeoutError:
                timed_out = True
                self._topology.report_failure()
                continue
            except (aiohttp.ClientError, OSError):
                self._topology.report_failure()
                continue
            if answer.status in _NOT_LET_IN:
                # That is between the worker and us, and nothing that whoever asks could mend by logging in.
                if url not in self._refusing:
                    self._refusing.add(url)
                    log.warning("worker does not let us in", url=url, status=answer.status, setting="EMS_INTERNAL_TOKEN")
                continue
            self._refusing.discard(url)
            if answer.status not in TRY_ANOTHER:
                return answer
            refusal = answer
        if refusal is not None:
            return refusal
        if timed_out:
            raise ProblemError(504, "Deadline exceeded", f"No worker answered within {self._timeout_s:g} s.")
        raise no_worker()

    def _candidates(self, key: str) -> list[str]:
        workers = self._topology.live()
        owner = self._topology.view.owner_of(key)
        return sorted(workers, key=lambda url: url != owner)

    async def _ask(self, url: str, query: Mapping[str, str], timeout_s: float) -> web.Response:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.get(url, params=query, timeout=timeout, headers=passed_on(), allow_redirects=False) as response:
            body = await response.read()
            headers = {name: response.headers[name] for name in _HEADERS_PASSED_BACK if name in response.headers}
            return web.Response(status=response.status, body=body, headers={**headers, "Cache-Control": "no-store"})

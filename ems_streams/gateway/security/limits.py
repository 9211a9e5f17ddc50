"""How often somebody may ask: by the name of their token, or by their address without one."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ems_streams.access.buckets import Buckets, Taken
from ems_streams.gateway.security.browsers import SAFE_METHODS
from ems_streams.ops.http import ProblemError

if TYPE_CHECKING:
    from ems_streams.settings import Settings

BURST_S: Final = 2.0
"""So many seconds' worth may come at once."""
_MINUTE_S: Final = 60.0


class TooOftenError(ProblemError):
    """429; `first` is whether it is the first refusal in a row, which is worth a line in the audit log."""

    def __init__(self, detail: str, taken: Taken, headers: dict[str, str]) -> None:
        wait_s = max(1, math.ceil(taken.wait_s))
        super().__init__(429, "Too many requests", detail, headers={**headers, "Retry-After": str(wait_s)})
        self.first = taken.first


class Limits:
    """The buckets of a gateway."""

    def __init__(self, settings: "Settings", clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = Buckets(settings.gateway_requests_per_s, settings.gateway_requests_per_s * BURST_S)
        self._writes = Buckets(settings.gateway_writes_per_s, settings.gateway_writes_per_s * BURST_S)
        per_min = settings.gateway_failed_logins_per_min
        self._failures = Buckets(per_min / _MINUTE_S, per_min)

    def request(self, request: web.Request, who: str, key: str) -> dict[str, str]:
        """Count a request, and give the headers of its answer; raises `TooOftenError`.

        Args:
            who: In words, for the answer.
            key: What they are counted by.
        """
        buckets = [self._requests] if request.method in SAFE_METHODS else [self._requests, self._writes]
        headers: dict[str, str] = {}
        for each in buckets:
            if not each.rate_per_s:
                continue
            taken = each.take(key, self._clock())
            headers = _headers(each, taken)
            if not taken.ok:
                kind = "writes" if each is self._writes else "requests"
                raise TooOftenError(f"At most {each.rate_per_s:g} {kind} a second on the average are possible for {who}.", taken, headers)
        return headers

    def failed(self, address: str) -> None:
        """Count a wrong token; raises `TooOftenError` when there were too many."""
        taken = self._failures.take(address, self._clock())
        if not taken.ok:
            raise _too_many_failures(taken)

    def check_failures(self, address: str) -> None:
        """Raises `TooOftenError` when this address has shown too many wrong tokens to try another one."""
        wait_s = self._failures.wait_s(address, self._clock())
        if wait_s > 0:
            raise _too_many_failures(Taken(ok=False, left=0, wait_s=wait_s))


def _too_many_failures(taken: Taken) -> TooOftenError:
    return TooOftenError("Too many wrong tokens came from this address.", taken, {})


def _headers(buckets: Buckets, taken: Taken) -> dict[str, str]:
    full_in_s = math.ceil((buckets.burst - taken.left) / buckets.rate_per_s)
    return {"RateLimit-Limit": f"{buckets.burst:g}", "RateLimit-Remaining": str(taken.left), "RateLimit-Reset": str(full_in_s)}

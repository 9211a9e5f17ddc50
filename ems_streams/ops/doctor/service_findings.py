"""What is wrong with our own processes, by what they say over HTTP."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.host_findings import clock_findings

CLOCK_UNCERTAIN_S = 2.0
"""The `Date` of an answer has whole seconds, and is of some time ago."""


@dataclass(frozen=True, slots=True)
class Service:
    """A process of ours, as it answered.

    Attributes:
        role: Such as `worker`.
        url: Where it was asked.
        answered: Whether it did, and as a process of ours does.
        error: Why not.
        version: Its release; None from one that does not say.
        ahead_s: Its clock, measured by ours; None when it does not say.
        live: Body of `/livez`.
        ready: Body of `/readyz`.
    """

    role: str
    url: str
    answered: bool
    error: str = ""
    version: str | None = None
    ahead_s: float | None = None
    live: Mapping[str, Any] = field(default_factory=dict)
    ready: Mapping[str, Any] = field(default_factory=dict)


def health_findings(service: Service, version: str) -> Iterator[Finding]:
    """What a process that answered says of itself."""
    name = f"the {service.role} at {service.url}"
    if failing := list(_failing(service.live)):
        yield finding("process-not-live", f"{name} must be restarted", found="; ".join(failing), expected="/livez with 200")
    elif failing := list(_failing(service.ready)):
        yield finding("process-not-ready", f"{name} cannot do its work", found="; ".join(failing), expected="/readyz with 200")
    if service.version is not None and service.version != version:
        yield finding("version-differs", f"{name} runs another release", found=service.version, expected=version)
    if service.ahead_s is not None:
        yield from clock_findings(name, service.ahead_s, CLOCK_UNCERTAIN_S)


def worker_findings(services: Iterable[Service], seeds: Iterable[str], members: int) -> Iterator[Finding]:
    """Workers that do not answer: addresses that are set, and those that the group's members told. Without members there is nobody to answer."""
    set_ = set(seeds)
    for each in services:
        if each.answered or not members:
            continue
        code = "worker-url-stale" if each.url in set_ else "worker-unreachable"
        what = f"the worker at {each.url} does not answer"
        yield finding(code, what, found=each.error, expected="an answer from /readyz")


def _failing(body: Mapping[str, Any]) -> Iterator[str]:
    if body.get("status") == "ok":
        return
    checks = body.get("checks")
    for name, check in checks.items() if isinstance(checks, Mapping) else ():
        if isinstance(check, Mapping) and not check.get("ok"):
            since = f" for {check['forS']:.0f} s" if isinstance(check.get("forS"), int | float) else ""
            yield f"{name}{since}: {check.get('detail', '')}"

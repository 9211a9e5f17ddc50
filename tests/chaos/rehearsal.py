"""Alerts tried: each is provoked on real processes, seen to fire in a real Prometheus, and seen to end by what the runbook advises."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ems_streams.dev.ports import Ports
from tests.chaos.harness import System
from tests.support.prometheus import Prometheus, binary

PAGE = Path(".ems-chaos/alerts.md")
FIRES_WITHIN_S = 150.0
ENDS_WITHIN_S = 120.0
_JOBS = {"ingress": "ems-ingress", "worker": "ems-worker", "sink": "ems-sink", "notifier": "ems-notifier", "gateway": "ems-gateway"}

needs_prometheus = pytest.mark.skipif(binary() is None, reason="needs Prometheus (EMS_PROMETHEUS, or prometheus on the path)")


@dataclass
class Rehearsal:
    """Of one system; every line says what was done, how long it took until the alert fired, and what it said."""

    system: System
    prometheus: Prometheus
    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Scrape the processes that are looked after now, whether they run or not."""
        targets: dict[str, list[str]] = {}
        for name in self.system.names():
            targets.setdefault(_JOBS[name.partition("-")[0]], []).append(self.system[name].url.removeprefix("http://"))
        self.prometheus.retarget(targets)

    def fires(self, alert: str, what: str, *, within_s: float = FIRES_WITHIN_S, look: Callable[[], object] = lambda: None) -> None:
        """Wait until an alert fires after `what` was done; `look` is called all the time."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < within_s:
            look()
            firing = self.prometheus.alerts()
            if alert in firing:
                self._say(f"| {alert} | {what} | after {time.monotonic() - began_s:.0f} s | {firing[alert]} |")
                return
            self.system.run_for(0.5)
        self.missed.append(f"{alert} after {what}")
        self._say(f"| {alert} | {what} | NOT within {within_s:.0f} s | firing: {', '.join(firing)} |")

    def ends(self, alert: str, advice: str, *, within_s: float = ENDS_WITHIN_S, look: Callable[[], object] = lambda: None) -> None:
        """Wait until an alert is over after its `advice` was followed."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < within_s:
            look()
            if alert not in self.prometheus.alerts():
                self._say(f"| {alert} | {advice} | over after {time.monotonic() - began_s:.0f} s | |")
                return
            self.system.run_for(0.5)
        self.missed.append(f"the end of {alert} after {advice}")
        self._say(f"| {alert} | {advice} | NOT over within {within_s:.0f} s | |")

    def quiet(self, alerts: Sequence[str]) -> None:
        """None of these fires before anything was done."""
        early = sorted(set(alerts) & self.prometheus.alerts().keys())
        assert early == [], "fire although nothing was done"

    def _say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)


@contextmanager
def rehearsing(system: System, directory: Path, title: str) -> Iterator[Rehearsal]:
    """Prometheus beside a system; at the end what was seen goes to a page, and an alert that did not fire or end fails the test."""
    prometheus = Prometheus(directory / "prometheus", Ports.free().gateway)
    rehearsal = Rehearsal(system, prometheus)
    (directory / "prometheus").mkdir(parents=True)
    rehearsal.watch()
    try:
        prometheus.start()
        yield rehearsal
    finally:
        prometheus.stop()
        PAGE.parent.mkdir(exist_ok=True)
        with PAGE.open("a") as page:
            head = f"## {title}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
            page.write("\n".join([head, "", "| alert | done | seen | said |", "|---|---|---|---|", *rehearsal.lines, "", ""]))
    assert rehearsal.missed == []

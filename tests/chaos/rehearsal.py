"""Alerts tried: each is provoked on real processes, seen to fire in a real Prometheus, and seen to end by what the runbook advises."""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ems_streams.dev.ports import Ports
from tests.chaos.harness import System
from tests.support.prometheus import Prometheus, binary

PAGE = Path(".ems-chaos/alerts.md")
PARTS = frozenset(filter(None, os.environ.get("EMS_REHEARSE", "").split(",")))
"""Only these parts of a rehearsal; none is all."""
FIRES_WITHIN_S = 150.0
ENDS_WITHIN_S = 120.0
QUIET_WITHIN_S = 60.0
OVER_WITHIN_S = 300.0
"""As long as any rule looks back, in a hurry, and a margin."""
_JOBS = {"ingress": "ems-ingress", "worker": "ems-worker", "sink": "ems-sink", "notifier": "ems-notifier", "gateway": "ems-gateway"}

needs_prometheus = pytest.mark.skipif(binary() is None, reason="needs Prometheus (EMS_PROMETHEUS, or prometheus on the path)")


@dataclass
class Rehearsal:
    """Of one system; every line says what was done, how long it took until the alert fired, and what it said.

    Attributes:
        missed: What was to be seen and was not.
        fired_s: When each alert that was waited for was first seen to fire, in seconds since 1970.
        ended: Those whose end was seen after an advice was followed.
    """

    system: System
    prometheus: Prometheus
    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    fired_s: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def watch(self) -> None:
        """Scrape the processes that are looked after now, whether they run or not."""
        targets: dict[str, list[str]] = {}
        for name in self.system.names():
            targets.setdefault(_JOBS[name.partition("-")[0]], []).append(self.system[name].url.removeprefix("http://"))
        self.prometheus.retarget(targets)

    def play(self, parts: Mapping[str, Callable[[], None]]) -> None:
        """One part after the other, beginning with nothing that fires, until nothing fires any more.

        A part that breaks is missed, and the others are tried all the same.
        """
        self.system.settled(lambda: not self.prometheus.alerts(), QUIET_WITHIN_S)
        assert self.prometheus.alerts() == {}, "fires although nothing was done"
        for name, part in parts.items():
            if PARTS and name not in PARTS:
                continue
            began_s = time.monotonic()
            try:
                part()
            except Exception as error:
                traceback.print_exc()
                self.missed.append(f"{name} broke: {type(error).__name__}: {error}")
            left = self.system.wait_ready()
            print(f"part {name}: {time.monotonic() - began_s:.0f} s{f', not ready: {left}' if left else ''}", flush=True)
        self._all_over()

    def fires(self, alert: str, what: str, *, within_s: float = FIRES_WITHIN_S, look: Callable[[], object] = lambda: None) -> None:
        """Wait until an alert fires after `what` was done; `look` is called all the time."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < within_s:
            look()
            firing = self.prometheus.alerts()
            if alert in firing:
                self.fired_s.setdefault(alert, time.time())
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
                self.ended.add(alert)
                self._say(f"| {alert} | {advice} | over after {time.monotonic() - began_s:.0f} s | |")
                return
            self.system.run_for(0.5)
        self.missed.append(f"the end of {alert} after {advice}")
        self._say(f"| {alert} | {advice} | NOT over within {within_s:.0f} s | |")

    def _all_over(self) -> None:
        """Nothing more is done: what tells of something that has happened is over when that is long enough ago."""
        self.system.settled(lambda: not self.prometheus.alerts(), OVER_WITHIN_S)
        self.missed += [f"the end of {alert}" for alert in self.prometheus.alerts()]
        last_s = self.prometheus.last_fired_s()
        for alert in sorted(self.fired_s.keys() - self.ended - self.prometheus.alerts().keys()):
            self._say(f"| {alert} | nothing more | over {last_s[alert] - self.fired_s[alert]:.0f} s after it fired | |")
        unasked = sorted(last_s.keys() - self.fired_s.keys())
        self._say(f"| {', '.join(unasked) or 'none'} | | fired besides, by what was done for others | |")

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

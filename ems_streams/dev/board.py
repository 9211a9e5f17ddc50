"""What people are shown of a run: one object that every display draws from."""

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ems_streams.dev.places import places_of
from ems_streams.dev.plan import Plan
from ems_streams.dev.rates import EventRates
from ems_streams.dev.units import Notice, Unit

TICK_S = 0.25
_NOTICES_KEPT = 6


@dataclass(slots=True)
class Board:
    """The state of a run for people.

    Attributes:
        phase: What is being done when it is not up.
        up: Whether it is up now.
        over: Whether all of it has ended.
        started_s: `time.monotonic` at which the run began.
        up_at: When everything was ready for the first time, UTC; `None` before.
        download_s, start_s: How long the two parts of coming up took.
        units: Servers, then programs.
        rates: Counts events; `None` before Kafka is there.
    """

    plan: Plan
    phase: str = "starting"
    up: bool = False
    over: bool = False
    started_s: float = field(default_factory=time.monotonic)
    up_at: datetime | None = None
    download_s: float | None = None
    start_s: float | None = None
    units: list[Unit] = field(default_factory=list)
    rates: EventRates | None = None
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=_NOTICES_KEPT))

    @property
    def restarts(self) -> int:
        """Of all units together."""
        return sum(unit.restarts for unit in self.units)

    @property
    def up_for_s(self) -> float:
        """0 until it is up."""
        return 0.0 if self.up_at is None else (datetime.now(UTC) - self.up_at).total_seconds()

    def set_up(self) -> None:
        """Everything is ready from now on."""
        self.up_at = datetime.now(UTC)
        self.up = True

    def set_phase(self, text: str, *, over: bool = False) -> None:
        """What is being done now, on the way up or on the way down."""
        self.phase, self.up, self.over = text, False, over

    def headline(self) -> str:
        """`EMS Streams is up: URL  (download 12.3 s, start 9.8 s)`."""
        return f"EMS Streams is up: {self.plan.dashboard_url}  (download {self.download_s or 0.0:.1f} s, start {self.start_s or 0.0:.1f} s)"

    def places(self) -> list[tuple[str, str]]:
        """Where to look, as pairs of what and a command or address that can be copied."""
        return places_of(self.plan)

    def figures(self) -> dict[str, Any]:
        """The figures of this moment, for machines."""
        rates = self.rates
        return {
            "upForS": round(self.up_for_s, 1),
            "telemetryPerS": round(rates.telemetry.per_s, 1) if rates else None,
            "telemetryTotal": rates.telemetry_total if rates else None,
            "statusPerS": round(rates.status.per_s, 1) if rates else None,
            "transitions": rates.transitions if rates else None,
            "restarts": self.restarts,
            "notReady": [unit.name for unit in self.units if unit.state != "ready"],
        }


class Display(Protocol):
    """Shows a board; every method returns at once, and none raises when nobody can read any more."""

    def open(self) -> None:
        """Begin."""

    def step(self, text: str) -> None:
        """A step towards being up; repeated texts are said once."""

    def progress(self, done: int, total: int) -> None:
        """How far the download is, in files."""

    def notice(self, notice: Notice) -> None:
        """Something has happened to a unit."""

    def up(self) -> None:
        """Everything is ready."""

    def tick(self) -> None:
        """`TICK_S` has passed."""

    def failed(self, unit: str, reason: str, log_file: Path, lines: list[str]) -> None:
        """A unit could not be started; the last lines of its log."""

    def close(self) -> None:
        """End; nothing is shown afterwards."""


def unit_json(unit: Unit) -> dict[str, Any]:
    """A unit for machines."""
    return {
        "name": unit.name,
        "state": unit.state.value,
        "pid": unit.pid,
        "port": unit.port,
        "since": unit.since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "restarts": unit.restarts,
        "detail": unit.detail,
        "log": str(unit.log_file),
    }


def age(since: datetime) -> str:
    """How long ago, in the largest unit that says enough: `42 s`, `3 min`, `2 h`."""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"

"""What a run says of itself while it lasts and when it is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ems_streams.dev.simulator.publications import Kind

_SHORTFALL = 0.98
_LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run; `lag_s` is how far the last message went out behind its schedule."""

    elapsed_s: float
    published: int
    acknowledged: int
    in_flight: int
    lag_s: float

    @property
    def rate(self) -> float:
        """Acknowledged messages per second so far."""
        return self.acknowledged / self.elapsed_s if self.elapsed_s > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Attributes:
        published: All messages handed to the broker: telemetry, duplicates, poison and status reports.
        acknowledged: How many of these the broker has acknowledged.
        unacknowledged: How many of these may or may not have arrived.
        refused: How many the broker has turned down.
        telemetry: Distinct telemetry messages published.
        ledger_lines: Distinct telemetry messages acknowledged.
        duplicates: Second copies published.
        poison: Malformed messages published.
        statuses: Status reports published.
        rate: Published messages per second.
        duration_s: From the first publish to the last.
        max_lag_s: How far behind schedule it was at worst.
        stopped: Whether it was stopped before its end.
    """

    published: int
    acknowledged: int
    unacknowledged: int
    refused: int
    telemetry: int
    ledger_lines: int
    duplicates: int
    poison: int
    statuses: int
    rate: float
    duration_s: float
    max_lag_s: float
    stopped: bool

    @classmethod
    def of(cls, published: Mapping[Kind, int], *, duration_s: float, **rest: Any) -> Self:
        """From the counts by kind."""
        total = sum(published.values())
        return cls(
            published=total,
            telemetry=published.get(Kind.TELEMETRY, 0),
            duplicates=published.get(Kind.DUPLICATE, 0),
            poison=published.get(Kind.POISON, 0),
            statuses=published.get(Kind.STATUS, 0),
            rate=total / duration_s,
            duration_s=duration_s,
            **rest,
        )

    @property
    def complete(self) -> bool:
        """Whether the broker has everything that was published."""
        return self.unacknowledged == 0 and self.refused == 0

    def shortfall(self, target_rate: float, planned_s: float | None) -> str | None:
        """What to say when the target rate was not reached; `None` when it was."""
        unplanned = planned_s is None or self.stopped
        behind = self.max_lag_s > _LATE_S if unplanned else self.duration_s > (planned_s or 0.0) / _SHORTFALL + _LATE_S / 2
        if not behind:
            return None
        reached = self.telemetry / self.duration_s
        return (
            f"the target rate of {target_rate:g} msg/s was not reached: {reached:.0f} msg/s, up to {self.max_lag_s:.1f} s behind schedule"
        )

    def as_json(self) -> dict[str, Any]:
        """Names as everywhere on the wire; numbers fit for reading."""
        return {
            "published": self.published,
            "acknowledged": self.acknowledged,
            "unacknowledged": self.unacknowledged,
            "refused": self.refused,
            "telemetry": self.telemetry,
            "ledgerLines": self.ledger_lines,
            "duplicates": self.duplicates,
            "poison": self.poison,
            "statuses": self.statuses,
            "rate": round(self.rate, 1),
            "duration": round(self.duration_s, 3),
            "maxLagS": round(self.max_lag_s, 3),
            "stopped": self.stopped,
        }

"""What an alarm rule looks for: a limit on a metric, on its rate of change or on a statistic of a window, or that data are missing.

Limits have hysteresis: a value beyond the limit raises, and only one at or on the good side of `clearAt` clears; in between nothing changes.
Each check is one of a field, so that a rule with several mistakes shows all of them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from ems_streams.domain.events import MetricName

FOR_MAX_S: Final = 30 * 86_400.0
"""Longest duration that a condition can be asked to hold."""
SPAN_MAX_S: Final = 3_600.0
"""Longest span of a rate of change: that much of a metric is remembered for each device."""
SECONDS_PER_MINUTE: Final = 60.0

Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e300, le=1e300)]
HoldS = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=FOR_MAX_S)]
DurationS = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=FOR_MAX_S)]
SpanS = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=SPAN_MAX_S)]


class RulePart(BaseModel):
    """Base of a rule and its parts: camelCase outside, unknown fields are mistakes, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Limits:
    """A limit with hysteresis, in the unit of what it is compared with.

    Attributes:
        above: Whether values above the limit are bad; otherwise those below.
        raise_at: The limit; a value that equals it is good.
        clear_at: At this value, or on its good side, the alarm is over; the limit itself when there is no hysteresis.
    """

    above: bool
    raise_at: float
    clear_at: float

    def breached(self, value: float) -> bool:
        """Whether a value raises."""
        return value > self.raise_at if self.above else value < self.raise_at

    def cleared(self, value: float) -> bool:
        """Whether a value clears; one that is neither breached nor cleared changes nothing."""
        return value <= self.clear_at if self.above else value >= self.clear_at


class Comparison(RulePart):
    """`above` or `below`, and where that is over."""

    above: Number | None = None
    below: Annotated[Number | None, Field(validate_default=True)] = None
    clear_at: Number | None = None

    @field_validator("below")
    @classmethod
    def _one_limit(cls, below: float | None, info: ValidationInfo) -> float | None:
        if "above" in info.data:
            check_one({"above": info.data["above"], "below": below})
        return below

    @field_validator("clear_at")
    @classmethod
    def _good_side(cls, clear_at: float | None, info: ValidationInfo) -> float | None:
        check_side(clear_at, info.data.get("above"), info.data.get("below"))
        return clear_at

    @property
    def limits(self) -> Limits:
        """The limit with its hysteresis."""
        return limits_of(self.above, self.below, self.clear_at)


class Threshold(Comparison):
    """A value beyond a limit.

    Attributes:
        for_s: How long it must be beyond without a break, in event time, before it raises; 0 raises at once.
        clear_for_s: How long it must be cleared without a break before that counts.
    """

    kind: Literal["threshold"]
    metric: MetricName
    for_s: HoldS = 0.0
    clear_for_s: HoldS = 0.0


class RateOfChange(RulePart):
    """A metric that changes too fast, by its mean rate over a span: per second or per minute, `clearAt...` in the unit of the limit.

    Attributes:
        over_s: Span of event time that the rate is taken over.
    """

    kind: Literal["rateOfChange"]
    metric: MetricName
    above_per_s: Number | None = None
    below_per_s: Number | None = None
    above_per_minute: Number | None = None
    below_per_minute: Annotated[Number | None, Field(validate_default=True)] = None
    clear_at_per_s: Number | None = None
    clear_at_per_minute: Number | None = None
    over_s: SpanS
    for_s: HoldS = 0.0
    clear_for_s: HoldS = 0.0

    @field_validator("below_per_minute")
    @classmethod
    def _one_limit(cls, last: float | None, info: ValidationInfo) -> float | None:
        names = ("above_per_s", "below_per_s", "above_per_minute")
        if all(name in info.data for name in names):
            check_one({**{to_camel(name): info.data[name] for name in names}, "belowPerMinute": last})
        return last

    @field_validator("clear_at_per_s")
    @classmethod
    def _good_side_per_s(cls, clear_at: float | None, info: ValidationInfo) -> float | None:
        _check_unit(clear_at, info, "per_s", "per_minute")
        check_side(clear_at, info.data.get("above_per_s"), info.data.get("below_per_s"), "PerS")
        return clear_at

    @field_validator("clear_at_per_minute")
    @classmethod
    def _good_side_per_minute(cls, clear_at: float | None, info: ValidationInfo) -> float | None:
        _check_unit(clear_at, info, "per_minute", "per_s")
        check_side(clear_at, info.data.get("above_per_minute"), info.data.get("below_per_minute"), "PerMinute")
        return clear_at

    @property
    def per_minute(self) -> bool:
        """Whether its limit is written per minute."""
        return self.above_per_minute is not None or self.below_per_minute is not None

    @property
    def limits(self) -> Limits:
        """The limit with its hysteresis, per second."""
        if self.above_per_s is not None or self.below_per_s is not None:
            return limits_of(self.above_per_s, self.below_per_s, self.clear_at_per_s)
        per_minute = (self.above_per_minute, self.below_per_minute, self.clear_at_per_minute)
        return limits_of(*(None if each is None else each / SECONDS_PER_MINUTE for each in per_minute))


class MissingData(RulePart):
    """Nothing came of a metric, or of a device at all, for a time.

    Attributes:
        metric: None is any telemetry.
        for_s: How long nothing came.
    """

    kind: Literal["missingData"]
    metric: MetricName | None = None
    for_s: DurationS


class Statistic(StrEnum):
    """What of a closed window is compared: a statistic of a metric, or the energy of the window, which has no metric."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    STDDEV = "stddev"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    LAST = "last"
    ENERGY_KWH = "energyKwh"


class WindowStatistic(Comparison):
    """A statistic of each closed window of a device, in its last revision."""

    kind: Literal["windowStatistic"]
    window: Literal["1m", "15m", "1h", "1d"]
    statistic: Statistic
    metric: Annotated[MetricName | None, Field(validate_default=True)] = None

    @field_validator("metric")
    @classmethod
    def _metric_or_energy(cls, metric: str | None, info: ValidationInfo) -> str | None:
        statistic = info.data.get("statistic")
        if statistic is Statistic.ENERGY_KWH and metric is not None:
            raise ValueError("expected no metric: energyKwh is that of the whole window")
        if statistic not in {None, Statistic.ENERGY_KWH} and metric is None:
            raise PydanticCustomError("missing_metric", "is missing; expected the metric that {statistic} is of", {"statistic": statistic})
        return metric


Condition = Annotated[Threshold | RateOfChange | MissingData | WindowStatistic, Field(discriminator="kind")]
KINDS: Final[dict[str, type[RulePart]]] = {
    "threshold": Threshold,
    "rateOfChange": RateOfChange,
    "missingData": MissingData,
    "windowStatistic": WindowStatistic,
}


def check_one(limits: dict[str, float | None]) -> None:
    """Raises unless exactly one limit is given."""
    given = [name for name, value in limits.items() if value is not None]
    if len(given) != 1:
        names = f"{', '.join(list(limits)[:-1])} and {list(limits)[-1]}"
        said = f"has {' and '.join(given)}" if given else "has no limit"
        raise PydanticCustomError("exactly_one", "{said}; expected exactly one of {names}", {"said": said, "names": names})


def check_side(clear_at: float | None, above: float | None, below: float | None, unit: str = "") -> None:
    """Raises when an alarm would be over where it is raised."""
    if clear_at is None or (above is None) == (below is None):
        return
    if above is not None and clear_at > above:
        raise ValueError(f"expected at most {above:g}, the value of above{unit}: it must be on the good side of the limit")
    if below is not None and clear_at < below:
        raise ValueError(f"expected at least {below:g}, the value of below{unit}: it must be on the good side of the limit")


def limits_of(above: float | None, below: float | None, clear_at: float | None) -> Limits:
    """The limit of which exactly one is given."""
    raise_at = above if above is not None else below
    assert raise_at is not None
    return Limits(above is not None, raise_at, raise_at if clear_at is None else clear_at)


def _check_unit(clear_at: float | None, info: ValidationInfo, own: str, other: str) -> None:
    def given(unit: str) -> bool:
        return any(info.data.get(f"{side}_{unit}") is not None for side in ("above", "below"))

    if clear_at is not None and given(other) and not given(own):
        raise ValueError(f"expected {to_camel('clear_at_' + other)}, in the unit of the limit")

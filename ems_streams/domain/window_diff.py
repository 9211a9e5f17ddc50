"""Whether two systems say the same of a window: counts and texts exactly, floats within a stated relative tolerance.

Revisions and event ids are not compared: how often a window was corrected on its way is not what it says. Neither is who the device was by then.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RELATIVE_TOLERANCE = 1e-9
FIELDS = ("windowEnd", "timeZone", "eventCount", "energyKwh", "energyQuality", "energyCoveredShare")
METRICS = "metrics"


class Verdict(StrEnum):
    """What became of a window."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING_IN_SHADOW = "missing in shadow"
    MISSING_IN_LIVE = "missing in live"


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """Which window of which device.

    Attributes:
        serial_number: Of the device.
        window: Its kind, as on the wire.
        start: When it begins, as on the wire.
    """

    serial_number: str
    window: str
    start: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one window.

    Attributes:
        key: Which one.
        verdict: Whether both say the same.
        fields: What differs, such as `metrics.powerKw.sum`.
        live_revision: The last one of live; 0 when there is none.
    """

    key: WindowKey
    verdict: Verdict
    fields: tuple[str, ...]
    live_revision: int


def compare(key: WindowKey, live: Mapping[str, Any] | None, shadow: Mapping[str, Any] | None) -> Comparison:
    """Compare the last revisions of a window, as on the wire; at least one is there."""
    revision = 0 if live is None else int(live["revision"])
    if live is None:
        return Comparison(key, Verdict.MISSING_IN_LIVE, (), revision)
    if shadow is None:
        return Comparison(key, Verdict.MISSING_IN_SHADOW, (), revision)
    fields = tuple(_differences(live, shadow))
    return Comparison(key, Verdict.DIFFERENT if fields else Verdict.SAME, fields, revision)


def _differences(live: Mapping[str, Any], shadow: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in FIELDS if not equal(live.get(name), shadow.get(name)))
    mine, theirs = live.get(METRICS, {}), shadow.get(METRICS, {})
    for metric in sorted(mine.keys() | theirs.keys()):
        one, other = mine.get(metric), theirs.get(metric)
        if one is None or other is None:
            yield f"{METRICS}.{metric}"
            continue
        yield from (f"{METRICS}.{metric}.{name}" for name in sorted(one.keys() | other.keys()) if not equal(one.get(name), other.get(name)))


def equal(one: object, other: object) -> bool:
    """Whether two JSON values count as the same."""
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, (int, float)) and isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE)
    return one == other

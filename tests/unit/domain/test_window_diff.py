"""When two systems say the same of a window."""

import pytest

from ems_streams.domain.window_diff import Verdict, WindowKey, compare

KEY = WindowKey("INV-1", "1h", "2026-01-05T10:00:00Z")
SAID = {
    "revision": 1,
    "windowEnd": "2026-01-05T11:00:00Z",
    "eventCount": 3,
    "energyKwh": 1.5,
    "energyQuality": "MEASURED",
    "energyCoveredShare": 1.0,
    "metrics": {"powerKw": {"count": 3, "sum": 30.0, "mean": 10.0, "stddev": None}},
}


def with_metric(**changes: object) -> dict:
    return {**SAID, "metrics": {"powerKw": {**SAID["metrics"]["powerKw"], **changes}}}


def test_revisions_ids_and_rounding_of_floats_are_no_difference() -> None:
    other = {**with_metric(sum=30.0 * (1 + 1e-12)), "revision": 4, "eventId": "x", "deviceType": "METER"}
    assert compare(KEY, SAID, other).verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("shadow", "field"),
    [
        ({**SAID, "eventCount": 4}, "eventCount"),
        ({**SAID, "energyKwh": None}, "energyKwh"),
        ({**SAID, "energyKwh": 1.5 * (1 + 1e-8)}, "energyKwh"),
        ({**SAID, "energyQuality": "GAP"}, "energyQuality"),
        ({**SAID, "timeZone": "Europe/Berlin"}, "timeZone"),
        ({**SAID, "metrics": {}}, "metrics.powerKw"),
        (with_metric(count=4), "metrics.powerKw.count"),
        (with_metric(stddev=0.0), "metrics.powerKw.stddev"),
    ],
)
def test_every_difference_is_named(shadow: dict, field: str) -> None:
    compared = compare(KEY, SAID, shadow)
    assert (compared.verdict, compared.fields, compared.live_revision) == (Verdict.DIFFERENT, (field,), 1)


def test_a_window_that_only_one_has_is_missing_in_the_other() -> None:
    assert compare(KEY, None, SAID).verdict is Verdict.MISSING_IN_LIVE
    assert compare(KEY, None, SAID).live_revision == 0
    assert compare(KEY, SAID, None).verdict is Verdict.MISSING_IN_SHADOW

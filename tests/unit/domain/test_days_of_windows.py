"""Days of messages that come up to hours late: the windows are those of the orderly days, and what is read is what was published."""

import random
from zoneinfo import ZoneInfo

import pytest

from ems_streams.domain.fold_outcome import Outcome
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_reading import current_windows
from ems_streams.domain.windows import DAY_MS, HOUR_MS, QUARTER_MS, Window, WindowPolicy
from tests.unit.domain.builders import NOON_MS, Device, record

BERLIN = ZoneInfo("Europe/Berlin")


def days_of(rnd: random.Random) -> list[TelemetryRecord]:
    """Up to five days of a device with power, a register or both; readings of 0, resets and hours of silence are among them."""
    has_register = rnd.random() < 0.7
    has_power = rnd.random() < 0.7 or not has_register
    reading, at_ms, found = rnd.uniform(1, 50), NOON_MS, []
    while at_ms < NOON_MS + 5 * DAY_MS and len(found) < 200:
        metrics = {"powerKw": rnd.randint(-1_000, 1_000) / 7} if has_power else {}
        if has_register:
            reading = rnd.uniform(0, 3) if rnd.random() < 0.05 else reading + rnd.uniform(0, 5)
            metrics["energyTotalKwh"] = 0.0 if rnd.random() < 0.1 else round(reading, 3)
        found.append(record(at_ms, metrics))
        at_ms += rnd.randint(1, 40 * MINUTE_MS) + (rnd.randint(0, 6 * HOUR_MS) if rnd.random() < 0.04 else 0)
    return found


def late(records: list[TelemetryRecord], rnd: random.Random, delay_ms: int) -> list[tuple[int, TelemetryRecord]]:
    """With the time of arrival, in its order; a third comes late."""
    arrivals = [(each.timestamp_ms + (rnd.randrange(delay_ms) if rnd.random() < 0.33 else 0), each) for each in records]
    return sorted(arrivals, key=lambda arrival: arrival[0])


@pytest.mark.parametrize("seed", range(8))
def test_days_in_disorder_give_the_windows_of_the_orderly_days(seed: int) -> None:
    rnd = random.Random(seed)
    # A register that is silent for longer than the horizon cannot correct all of the time that it was silent for.
    policy = WindowPolicy(horizon_ms=24 * HOUR_MS, zone_of=lambda _site: BERLIN)
    records = days_of(rnd)
    orderly, other = Device(policy), Device(policy)
    for each in records:
        orderly.send(each)
    arrivals = late(records, rnd, 6 * HOUR_MS)
    while arrivals:
        batch, arrivals = arrivals[: (size := rnd.randint(1, 5))], arrivals[size:]
        other.send(*(each for _, each in batch), arrived_ms=batch[-1][0])
        if rnd.random() < 0.15:
            other.quiet(rnd.choice((3 * MINUTE_MS, QUARTER_MS, 2 * HOUR_MS)))
    assert Outcome.LATE not in other.outcomes
    orderly.quiet(10 * DAY_MS)
    other.quiet(10 * DAY_MS)
    assert other.last() == orderly.last()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_of_closed_windows_is_what_was_published_last(seed: int) -> None:
    rnd = random.Random(100 + seed)
    policy = WindowPolicy(horizon_ms=24 * HOUR_MS, zone_of=lambda _site: BERLIN)
    device = Device(policy)
    for arrived_ms, each in late(days_of(rnd), rnd, 6 * HOUR_MS):
        device.send(each, arrived_ms=arrived_ms)
    revisions = {(result.window, result.span.start_ms): result.revision for result in device.published}
    published = device.last()
    closed = 0
    for window in Window:
        for result in current_windows(device.state, device.quarters, policy, window, limit=10_000):
            if result.revision:
                key = window, result.span.start_ms
                assert (result.revision, result.summary) == (revisions[key], published[key])
                closed += 1
    assert closed > 50

"""The event loop: when it counts as stuck, and when not."""

import asyncio

from ems_streams.ops import vitals
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.vitals import STOOD_STILL_S, TIMES_MAX, WINDOW_S, Vitals


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_one_long_pause_is_nothing_that_a_restart_mends_and_many_are() -> None:
    clock = Clock()
    pulse = Vitals(Health(clock), clock)
    pulse.note(300.0)
    assert pulse.check().ok
    for _ in range(TIMES_MAX - 1):
        clock.now_s += 15.0
        pulse.note(STOOD_STILL_S + 1.0)
    assert not pulse.check().ok
    assert "300.000 s late" in pulse.check().detail
    clock.now_s += WINDOW_S + 1.0
    pulse.note(0.001)
    assert pulse.check() == CheckResult(True, "at most 0.001 s late in the last 120 s")


async def test_a_blocked_loop_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(vitals, "TICK_S", 0.01)
    pulse = Vitals(Health())
    pulse.start()
    await asyncio.sleep(0.03)
    loop_blocked_s = 0.15
    deadline = asyncio.get_running_loop().time() + loop_blocked_s
    while asyncio.get_running_loop().time() < deadline:
        pass
    await asyncio.sleep(0.05)
    late_s = max(lag_s for _, lag_s in pulse._lags)
    await pulse.stop()
    assert late_s > loop_blocked_s * 0.8


async def test_checks_know_since_when_also_when_nobody_asks(monkeypatch) -> None:
    monkeypatch.setattr(vitals, "TICK_S", 0.02)
    health = Health()
    well = True
    health.add_readiness("thing", lambda: CheckResult(well, "x"))
    pulse = Vitals(health)
    pulse.start()
    await asyncio.sleep(0.1)
    well = False
    await asyncio.sleep(0.3)
    for_s = health.readyz()[1]["checks"]["thing"]["forS"]  # type: ignore[index]
    await pulse.stop()
    assert for_s > 0.15


async def test_ticks_that_have_ended_are_no_life() -> None:
    pulse = Vitals(Health())
    pulse.start()
    assert pulse.check().ok
    await pulse.stop()
    assert not pulse.check().ok

"""The rate meter."""

from ems_streams.gateway.pipeline import RateMeter


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_rate_over_the_window() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    assert meter.rate_per_s() is None
    for second in range(20):
        clock.now_s = float(second)
        meter.sample(second * 100 if second < 10 else 1000 + (second - 10) * 500)
    assert meter.rate_per_s() == 500
    assert meter.total == 5500


def test_a_total_that_shrinks_begins_anew() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    meter.sample(1000)
    clock.now_s = 1
    meter.sample(10)
    assert meter.rate_per_s() is None
    clock.now_s = 2
    meter.sample(30)
    assert meter.rate_per_s() == 20


def test_age_tells_how_old_the_last_sample_is() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    assert meter.age_s == float("inf")
    meter.sample(1)
    clock.now_s = 3
    assert meter.age_s == 3

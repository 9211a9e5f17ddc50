"""The rate meter, and what waits for the workers."""

from ems_streams.gateway.pipeline import RateMeter, lag_of


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


def test_what_waits_is_summed_over_workers_by_topic_and_for_telemetry_by_partition() -> None:
    conditions = [
        {"lags": {"device-telemetry": {"0": 3, "1": 4}, "device-status-reports": {"0": 1}}},
        {"lags": {"device-telemetry": {"2": 5}}},
        {},
    ]
    assert lag_of(conditions) == {
        "messages": 12,
        "byTopic": {"device-telemetry": 12, "device-status-reports": 1},
        "byPartition": {"0": 3, "1": 4, "2": 5},
    }


def test_what_waits_is_not_known_when_no_worker_says() -> None:
    assert lag_of([{}, {"lags": None}]) is None
    assert lag_of([]) is None

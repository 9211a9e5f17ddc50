import random
from pathlib import Path

import pytest

from benchmarks.soak_samples import PIPELINE, LineCounter, Series
from benchmarks.soak_verdict import Judged, judge, theil_sen

RATE = 2000.0
LONG_S = 1800.0


def series_of(values: dict[tuple[str, str], list[float]], every_s: float = 5.0) -> Series:
    series = Series()
    for key, of_key in values.items():
        for index, value in enumerate(of_key):
            series.add(index * every_s, {key: value})
    return series


def judged(what: str, values: list[float], who: str = "worker-0", duration_s: float = LONG_S) -> Judged:
    every_s = duration_s / len(values)
    (found,) = judge(series_of({(who, what): values}, every_s), duration_s, RATE, ["worker-0"])
    return found


def noisy(count: int, per_sample: float = 0.0, start: float = 100.0) -> list[float]:
    noise = random.Random(1)
    return [start + per_sample * index + noise.uniform(-2, 2) for index in range(count)]


def test_the_slope_is_that_of_the_line_whatever_a_quarter_of_the_points_are() -> None:
    points = [(float(at), 3.0 * at + (500.0 if at % 4 == 0 else 0.0)) for at in range(100)]

    assert theil_sen(points) == pytest.approx(3.0, abs=0.7)
    assert theil_sen([(float(at), 3.0 * at) for at in range(5000)]) == pytest.approx(3.0)
    assert theil_sen([(0.0, 1.0)]) == 0.0


def test_memory_that_only_wavers_is_flat_and_memory_that_grows_is_not() -> None:
    assert judged("RSS MiB", noisy(360)).ok is True
    # 10 MiB in the 15 minutes that are judged.
    found = judged("RSS MiB", noisy(360, per_sample=10 / 180))
    assert found.ok is False
    assert found.growth == pytest.approx(10, abs=1)
    assert found.per_hour == pytest.approx(40, abs=4)


def test_growth_of_the_first_half_is_warm_up() -> None:
    warming_up = [100.0 + min(index, 170) for index in range(360)]

    assert judged("RSS MiB", warming_up).ok is True


def test_one_peak_at_the_end_is_no_growth() -> None:
    assert judged("RSS MiB", [*noisy(350), *([400.0] * 10)]).ok is True


def sawtooth(per_sample: float = 0.0) -> list[float]:
    """Three quarters of an hour, in each of which it rises by 50 and falls at the end; the first one is warm-up, too."""
    return [value + 50 * (index % 180) / 180 - (200 if index < 100 else 0) for index, value in enumerate(noisy(540, per_sample))]


def test_memory_that_follows_the_quarter_of_an_hour_is_flat_in_a_long_run() -> None:
    assert judged("RSS MiB", sawtooth(), duration_s=2700.0).ok is True
    found = judged("RSS MiB", sawtooth(10 / 180), duration_s=2700.0)
    assert found.ok is False
    assert found.growth == pytest.approx(10, abs=1)
    assert found.per_hour == pytest.approx(40, abs=4)
    # Of half an hour the slope of the second half depends on where in a quarter it began.
    assert judged("RSS MiB", sawtooth()[-360:]).growth > 10


def test_memory_of_a_short_run_is_shown_only() -> None:
    assert judged("RSS MiB", noisy(40, per_sample=3.0), duration_s=180.0).ok is None


@pytest.mark.parametrize("what", ["handles", "threads"])
def test_handles_and_threads_are_judged_in_short_runs_too(what: str) -> None:
    assert judged(what, [50.0, 51.0] * 20, duration_s=180.0).ok is True
    assert judged(what, [50.0 + index / 4 for index in range(40)], duration_s=180.0).ok is False


def test_a_log_that_is_written_all_the_time_is_found() -> None:
    assert judged("log lines", [20.0] * 360).ok is True
    assert judged("log lines", [float(index) for index in range(360)]).ok is False


def test_servers_are_shown_only() -> None:
    assert judged("RSS MiB", noisy(360, per_sample=1.0), who="Kafka").ok is None


def test_a_lag_may_waver_but_neither_grow_nor_stay_high() -> None:
    assert judged("lag worker device-telemetry", [0.0, 9000.0] * 180, who=PIPELINE).ok is True
    assert judged("lag worker device-telemetry", [float(index * 100) for index in range(360)], who=PIPELINE).ok is False
    assert judged("MQTT backlog", [25_000.0] * 360, who=PIPELINE).ok is False


def test_lines_of_a_file_that_grows_are_counted_once_each(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    counter = LineCounter(path)
    assert counter.count() == 0
    with path.open("w") as file:
        file.write("a\nb\nhal")
        file.flush()
        assert counter.count() == 2
        file.write("f\n")
        file.flush()
        assert counter.count() == 3
    assert counter.count() == 3


def test_lines_of_what_people_did_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    path.write_text("12:00 [info     ] audit [gateway] by=ann\n12:01 [warning  ] kafka_away [gateway]\n")
    assert LineCounter(path, without=b"] audit ").count() == 1

from itertools import pairwise

import pytest

from benchmarks.measure import PeerFailedError, Sample, steady


def samples(counts: list[int], *, peer_us_per_event: float = 10.0) -> list[Sample]:
    return [
        Sample(at_s=float(at), events=count, peer_cpu_s=count * peer_us_per_event / 1e6, broker_cpu_s=count * 1e-6, machine_busy_s=2.0 * at)
        for at, count in enumerate(counts)
    ]


def test_leaves_the_first_fifth_out() -> None:
    counts = [0, 0, 10, 20, 30, *range(1030, 9030, 1000)]

    figures = steady(samples(counts), peak_mib=7)

    assert figures.events_per_s == pytest.approx(1000)
    assert figures.cpu_us_per_event == pytest.approx(10)
    assert figures.broker_us_per_event == pytest.approx(1)
    assert figures.peak_mib == 7


def test_a_count_that_moves_in_steps_is_measured_from_step_to_step() -> None:
    counts = [300 * (at // 3) for at in range(32)]

    figures = steady(samples(counts), peak_mib=1)

    assert figures.events_per_s == pytest.approx(100)


def test_time_after_the_last_move_does_not_count() -> None:
    counts = [*range(0, 2000, 100), *([1900] * 20)]

    assert steady(samples(counts), peak_mib=1).events_per_s == pytest.approx(100)


def test_what_others_took_is_said() -> None:
    counts = list(range(0, 200_000, 10_000))

    figures = steady(samples(counts), peak_mib=1)

    assert figures.cores == pytest.approx(0.1)
    assert figures.other_cores == pytest.approx(2.0 - 0.1 - 0.01)


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 5, 5, 5]])
def test_too_few_moves_are_no_measurement(counts: list[int]) -> None:
    assert sum(after > before for before, after in pairwise(counts)) < 2

    with pytest.raises(PeerFailedError, match="longer"):
        steady(samples(counts), peak_mib=1)

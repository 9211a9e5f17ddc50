"""Token buckets: the average over any time is kept, and so is the memory."""

from hypothesis import given
from hypothesis import strategies as st

from ems_streams.access.buckets import Buckets


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.floats(0.5, 20), st.integers(1, 50))
def test_no_more_get_through_than_a_full_bucket_and_what_flowed_in(gaps_s: list[float], rate_per_s: float, burst: int) -> None:
    buckets, now_s, taken = Buckets(rate_per_s, burst), 0.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        found = buckets.take("a", now_s)
        taken += found.ok
        assert taken <= burst + rate_per_s * now_s + 1e-6
        if not found.ok:
            # Who waits for as long as is said gets one.
            now_s += found.wait_s + 1e-9
            assert buckets.take("a", now_s).ok
            taken += 1


def test_each_key_has_a_bucket_and_the_first_refusal_in_a_row_is_marked() -> None:
    buckets = Buckets(1.0, 2)
    assert [buckets.take("a", 0.0).ok for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0).ok
    assert [buckets.take("a", 0.1).first for _ in range(2)] == [False, False]
    assert buckets.take("a", 1.2).ok
    assert buckets.take("a", 1.2).first


def test_whoever_comes_only_so_many_are_remembered() -> None:
    buckets = Buckets(1.0, 1, remembered=100)
    for number in range(10_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100
    assert not buckets.take("9999", 0.0).ok


def test_no_rate_is_no_limit_and_looking_takes_nothing() -> None:
    assert all(Buckets(0, 0).take("a", 0.0).ok for _ in range(1000))
    buckets = Buckets(1.0, 1)
    assert [buckets.wait_s("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert len(buckets) == 0
    buckets.take("a", 0.0)
    assert buckets.wait_s("a", 0.25) == 0.75

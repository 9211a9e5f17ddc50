"""Idle is not stuck, slow is not stuck, stuck is stuck."""

from ems_streams.domain.stall import Progress, StallDetector


def test_behind_and_still_is_stalled_since_it_last_moved() -> None:
    detector = StallDetector()
    assert detector.stalled_for_s({"p": Progress(5, behind=True)}, 10.0) == {}
    assert detector.stalled_for_s({"p": Progress(6, behind=True)}, 12.0) == {}
    assert detector.stalled_for_s({"p": Progress(6, behind=True)}, 20.0) == {"p": 8.0}


def test_idle_is_not_stuck_however_long() -> None:
    detector = StallDetector()
    for now_s in (0.0, 100.0, 1000.0):
        assert detector.stalled_for_s({"p": Progress(5, behind=False)}, now_s) == {}
    assert detector.stalled_for_s({"p": Progress(5, behind=True)}, 1001.0) == {"p": 1.0}, "counts from the last idle moment"


def test_slow_is_not_stuck() -> None:
    detector = StallDetector()
    for step in range(10):
        assert detector.stalled_for_s({"p": Progress(step, behind=True)}, step * 50.0) == {}


def test_what_is_given_away_and_comes_back_starts_anew() -> None:
    detector = StallDetector()
    detector.stalled_for_s({"p": Progress(5, behind=True)}, 0.0)
    detector.stalled_for_s({}, 50.0)
    assert detector.stalled_for_s({"p": Progress(5, behind=True)}, 100.0) == {}


def test_each_thing_for_itself() -> None:
    detector = StallDetector()
    detector.stalled_for_s({"a": Progress(1, behind=True), "b": Progress(1, behind=True)}, 0.0)
    assert detector.stalled_for_s({"a": Progress(2, behind=True), "b": Progress(1, behind=True)}, 5.0) == {"b": 5.0}

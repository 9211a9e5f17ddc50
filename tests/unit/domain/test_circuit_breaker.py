"""Every edge of the breaker's state machine."""

import math

from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker


def test_closed_until_enough_failures_in_a_row() -> None:
    breaker = CircuitBreaker(failures_to_open=2)
    breaker.on_failure(1.0, "first")
    assert breaker.allows(1.0)
    breaker.on_success(2.0)
    breaker.on_failure(3.0, "second")
    assert breaker.state is BreakerState.CLOSED
    breaker.on_failure(4.0, "third")
    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "third"
    assert not breaker.allows(4.0)


def test_one_trial_after_the_wait() -> None:
    breaker = CircuitBreaker(open_s=0.5)
    breaker.on_failure(10.0, "away")
    assert math.isclose(breaker.wait_s(10.2), 0.3)
    assert not breaker.allows(10.4)
    assert breaker.allows(10.5)
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allows(10.6), "one trial at a time"


def test_a_trial_that_succeeds_closes() -> None:
    breaker = CircuitBreaker(open_s=0.5)
    breaker.on_failure(10.0, "away")
    assert breaker.allows(11.0)
    breaker.on_success(11.1)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.since_s == 11.1
    assert breaker.allows(11.1)


def test_a_trial_that_fails_doubles_the_wait_up_to_the_maximum() -> None:
    breaker = CircuitBreaker(open_s=0.5, open_max_s=3.0)
    now_s, waits = 0.0, []
    breaker.on_failure(now_s, "away")
    for _ in range(5):
        wait_s = breaker.wait_s(now_s)
        waits.append(wait_s)
        now_s += wait_s
        assert breaker.allows(now_s)
        breaker.on_failure(now_s, "still away")
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_success_forgets_the_waits() -> None:
    breaker = CircuitBreaker(open_s=0.5)
    for moment_s in (0.0, 1.0, 3.0):
        breaker.allows(moment_s)
        breaker.on_failure(moment_s, "away")
    breaker.on_success(10.0)
    breaker.on_failure(11.0, "away again")
    assert breaker.wait_s(11.0) == 0.5

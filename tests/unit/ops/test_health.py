"""Health: states of checks, how long they have been so, and what a probe gets to see."""

import pytest

from ems_streams.ops.health import CheckResult, Health


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_is_not_ready_and_not_started_before_it_is_started() -> None:
    health = Health(Clock())
    assert health.startupz()[0] == 503
    assert health.readyz()[0] == 503
    assert health.livez() == (200, {"status": "ok", "checks": {}})
    health.mark_started()
    assert health.startupz()[0] == 200
    assert health.readyz()[0] == 200


def test_one_failing_check_fails_the_probe_but_not_the_other_probe() -> None:
    health = Health(Clock())
    health.mark_started()
    health.add_readiness("kafka", lambda: CheckResult(False, "no broker answers"))
    health.add_readiness("other", lambda: CheckResult(True, "fine"))
    status, body = health.readyz()
    assert status == 503
    assert body["status"] == "failing"
    assert body["checks"] == {
        "started": {"ok": True, "detail": "started", "forS": 0.0},
        "kafka": {"ok": False, "detail": "no broker answers", "forS": 0.0},
        "other": {"ok": True, "detail": "fine", "forS": 0.0},
    }
    assert health.livez()[0] == 200


def test_time_in_a_state_counts_from_its_last_change() -> None:
    clock = Clock()
    health = Health(clock)
    well = True
    health.add_liveness("loop", lambda: CheckResult(well, "x"))
    seen: list[float] = []
    for passed_s, well in [(0, True), (5, True), (2, False), (3, False), (1, True)]:  # noqa: B007
        clock.now_s += passed_s
        seen.append(health.livez()[1]["checks"]["loop"]["forS"])  # type: ignore[index]
    assert seen == [0.0, 5.0, 0.0, 3.0, 0.0]


def test_a_check_that_raises_is_failing_with_its_message() -> None:
    def broken() -> CheckResult:
        raise RuntimeError("the probe broke")

    health = Health(Clock())
    health.add_liveness("broken", broken)
    status, body = health.livez()
    assert status == 503
    assert body["checks"]["broken"]["detail"] == "RuntimeError: the probe broke"  # type: ignore[index]


def test_a_name_is_used_once() -> None:
    health = Health(Clock())
    health.add_readiness("kafka", lambda: CheckResult(True))
    with pytest.raises(ValueError, match="kafka"):
        health.add_readiness("kafka", lambda: CheckResult(True))


def test_a_check_that_is_not_required_is_shown_and_does_not_decide() -> None:
    health = Health(Clock())
    health.mark_started()
    health.add_readiness("aside", lambda: CheckResult(False, "away"), required=False)
    status, body = health.readyz()
    assert (status, body["status"]) == (200, "ok")
    assert body["checks"]["aside"] == {"ok": False, "detail": "away", "forS": 0.0, "required": False}  # type: ignore[index]

"""The oracle of commands notices what it is there for: a fault put into a true story is seen, each kind by its name."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.chaos.command_oracles import deeds_of, held_up, judge, published_once

Story = tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]
"""Events of each command, and the devices' log."""


def life(*steps: str, executed: str = "unknown") -> list[dict[str, Any]]:
    ends = {"COMPLETED": "yes", "FAILED": "no", "REJECTED": "no"}
    return [
        {
            "sequence": number,
            "status": status,
            "previousStatus": steps[number - 2] if number > 1 else None,
            "final": status in {"COMPLETED", "FAILED", "REJECTED", "EXPIRED", "CANCELLED"},
            "executed": ends.get(status, executed),
        }
        for number, status in enumerate(steps, start=1)
    ]


def done(command_id: str, *events: str) -> list[dict[str, Any]]:
    """`RECEIVED`, `EXECUTED:COMPLETED`, `ANSWERED:FAILED` and so on."""
    lines = []
    for event in events:
        name, _, result = event.partition(":")
        lines.append({"event": name, "commandId": command_id, **({"result": result} if result else {})})
    return lines


def true_story() -> Story:
    """One command of each kind of end, all told as it was."""
    lives = {
        "completed": life("REQUESTED", "PUBLISHED", "DELIVERED", "ACCEPTED", "COMPLETED"),
        "overtaken": life("REQUESTED", "PUBLISHED", "COMPLETED"),
        "failed": life("REQUESTED", "PUBLISHED", "DELIVERED", "FAILED"),
        "rejected": life("REQUESTED", "PUBLISHED", "DELIVERED", "REJECTED"),
        "never-sent": life("REQUESTED", "EXPIRED", executed="no"),
        "silent": life("REQUESTED", "PUBLISHED", "DELIVERED", "EXPIRED"),
        "lost": life("REQUESTED", "PUBLISHED", "PUBLISHED", "EXPIRED"),
        "late": life("REQUESTED", "PUBLISHED", "DELIVERED", "EXPIRED", "COMPLETED"),
        "cancelled": life("REQUESTED", "CANCELLED", executed="no"),
    }
    log = [
        *done("completed", "RECEIVED", "RESENT", "ANSWERED:ACCEPTED", "EXECUTED:COMPLETED", "RELEASED", "ANSWERED:COMPLETED"),
        *done("overtaken", "RECEIVED", "EXECUTED:COMPLETED", "ANSWERED:COMPLETED", "ANSWERED:COMPLETED"),
        *done("failed", "RECEIVED", "EXECUTED:FAILED", "ANSWERED:ACCEPTED", "ANSWERED:FAILED"),
        *done("rejected", "RECEIVED", "REFUSED", "ANSWERED:REJECTED"),
        *done("silent", "RECEIVED", "EXECUTED:COMPLETED"),
        *done("late", "RECEIVED", "EXECUTED:COMPLETED", "ANSWERED:COMPLETED"),
        {"event": "OFFLINE", "serialNumber": "A"},
    ]
    return lives, log


def verdict_of(story: Story, asked: set[str] | None = None) -> dict[str, Any]:
    lives, log = story
    finding = judge(asked or true_story()[0].keys(), lives, deeds_of(log))
    return {name: found for name, found in finding.found.items() if found != finding.expected[name]}


def test_a_true_story_is_found_true() -> None:
    assert verdict_of(true_story()) == {}


def execute_twice(lives: dict[str, Any], log: list[Any]) -> None:
    log += done("completed", "RECEIVED", "EXECUTED:COMPLETED", "ANSWERED:COMPLETED")


def fail_and_succeed(lives: dict[str, Any], log: list[Any]) -> None:
    log += done("silent", "EXECUTED:FAILED")


def complete_what_was_not_done(lives: dict[str, Any], log: list[Any]) -> None:
    lives["never-sent"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "COMPLETED")


def complete_on_the_brokers_word(lives: dict[str, Any], log: list[Any]) -> None:
    lives["silent"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "COMPLETED")


def deny_what_was_done(lives: dict[str, Any], log: list[Any]) -> None:
    lives["silent"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "EXPIRED", executed="no")


def expire_what_was_answered(lives: dict[str, Any], log: list[Any]) -> None:
    lives["late"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "EXPIRED")


def fail_what_was_completed(lives: dict[str, Any], log: list[Any]) -> None:
    lives["completed"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "FAILED")


def reject_what_failed(lives: dict[str, Any], log: list[Any]) -> None:
    lives["failed"] = life("REQUESTED", "PUBLISHED", "DELIVERED", "REJECTED")


def cancel_what_was_received(lives: dict[str, Any], log: list[Any]) -> None:
    log += done("cancelled", "RECEIVED")


def never_end(lives: dict[str, Any], log: list[Any]) -> None:
    lives["silent"] = life("REQUESTED", "PUBLISHED", "DELIVERED")


def lose_a_command(lives: dict[str, Any], log: list[Any]) -> None:
    del lives["silent"]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (execute_twice, {"executed twice": 1}),
        (fail_and_succeed, {"executed twice": 1}),
        (complete_what_was_not_done, {"untrue": 1}),
        (complete_on_the_brokers_word, {"untrue": 1}),
        (deny_what_was_done, {"untrue": 1}),
        (expire_what_was_answered, {"untrue": 1}),
        (fail_what_was_completed, {"untrue": 1}),
        (reject_what_failed, {"untrue": 1}),
        (cancel_what_was_received, {"untrue": 1}),
        (never_end, {"untrue": 1}),
        (lose_a_command, {"commands": 8, "untrue": 1}),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_a_fault_is_noticed(fault: Callable[[dict[str, Any], list[Any]], None], found: dict[str, Any]) -> None:
    lives, log = deepcopy(true_story())
    fault(lives, log)
    assert verdict_of((lives, log)) == found


def test_a_life_with_a_gap_or_a_jump_is_noticed() -> None:
    lives, log = true_story()
    del lives["completed"][1]
    assert verdict_of((lives, log)) == {"broken lives": 1}
    lives, log = true_story()
    lives["failed"][2]["previousStatus"] = "REQUESTED"
    assert verdict_of((lives, log)) == {"broken lives": 1}
    lives, log = true_story()
    lives["rejected"].insert(1, lives["rejected"][0])
    assert verdict_of((lives, log)) == {"broken lives": 1}


def test_a_command_that_was_published_twice_is_noticed() -> None:
    assert published_once({"a", "b"}, {"a": 1}).found == {"published twice": 0}, "not everything is seen"
    assert published_once({"a", "b"}, {"a": 1, "b": 2}).found == {"published twice": 1}


def test_a_command_that_nobody_asked_for_is_noticed() -> None:
    lives, log = true_story()
    log += done("stranger", "RECEIVED")
    assert verdict_of((lives, log)) == {"strangers": 1}


def at(serial_number: str, executed: str, *steps: tuple[int, str]) -> list[dict[str, Any]]:
    """Steps at minutes past noon."""
    lives = life(*(status for _, status in steps), executed=executed)
    for (minute, _), each in zip(steps, lives, strict=True):
        each.update(serialNumber=serial_number, timestamp=f"2026-01-31T12:{minute:02}:00Z")
    return lives


@pytest.mark.parametrize(
    ("before", "waited_for"),
    [
        ([(0, "REQUESTED"), (1, "PUBLISHED"), (9, "EXPIRED")], "silent device"),
        ([(0, "REQUESTED"), (1, "PUBLISHED"), (9, "COMPLETED")], "slow answer"),
        ([(0, "REQUESTED"), (1, "PUBLISHED"), (3, "EXPIRED"), (9, "COMPLETED")], "sending"),
        ([(0, "REQUESTED"), (1, "PUBLISHED"), (3, "COMPLETED")], "sending"),
        ([(0, "REQUESTED"), (9, "PUBLISHED"), (10, "COMPLETED")], "sending"),
    ],
)
def test_what_an_expired_command_was_waiting_for_is_told(before: list[tuple[int, str]], waited_for: str) -> None:
    expired = at("A", "no", (2, "REQUESTED"), (5, "EXPIRED"))
    other = at("B", "unknown", (0, "REQUESTED"), (1, "PUBLISHED"), (20, "EXPIRED"))
    assert held_up({"expired": expired, "before": at("A", "unknown", *before), "other": other}) == {waited_for: 1}

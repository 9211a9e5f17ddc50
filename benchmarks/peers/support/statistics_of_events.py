"""The work of the benchmark for Python peers whose state is a dictionary: five metrics, each with count, sum, min, max and last."""

from typing import Any

METRICS = ("powerKw", "voltage", "current", "temperature", "efficiency")

State = dict[str, dict[str, Any]]


def first(values: dict[str, float]) -> State:
    """State after the first event of a device or a window."""
    return {name: {"count": 1, "sum": values[name], "min": values[name], "max": values[name], "last": values[name]} for name in METRICS}


def fold(state: State, values: dict[str, float]) -> State:
    """Take one more event into the state, in place."""
    for name in METRICS:
        metric = state[name]
        value = values[name]
        metric["count"] += 1
        metric["sum"] += value
        if value < metric["min"]:
            metric["min"] = value
        if value > metric["max"]:
            metric["max"] = value
        metric["last"] = value
    return state

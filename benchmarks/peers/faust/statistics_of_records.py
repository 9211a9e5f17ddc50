"""The work on Faust records: the same state as in `support/statistics_of_events.py`, from attributes instead of items."""

METRICS = ("powerKw", "voltage", "current", "temperature", "efficiency")


def first(record):
    """State after the first event of a device or a window."""
    state = {}
    for name in METRICS:
        value = getattr(record, name)
        state[name] = {"count": 1, "sum": value, "min": value, "max": value, "last": value}
    return state


def fold(state, record):
    """Take one more event into the state, in place."""
    for name in METRICS:
        metric = state[name]
        value = getattr(record, name)
        metric["count"] += 1
        metric["sum"] += value
        if value < metric["min"]:
            metric["min"] = value
        if value > metric["max"]:
            metric["max"] = value
        metric["last"] = value
    return state

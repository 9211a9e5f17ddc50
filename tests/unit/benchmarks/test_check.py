import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.check import Observed, compare
from benchmarks.dataset import METRICS, Dataset, Shape


@pytest.fixture
def dataset() -> Dataset:
    made = Dataset(Shape(events=300, devices=10, partitions=2))
    assert sum(1 for _ in made.generate()) == 300
    return made


@pytest.fixture
def right(dataset: Dataset) -> Observed:
    """What a correct peer has, computed from the records themselves."""
    observed = Observed(ends={partition: len(events) for partition, events in enumerate(dataset.partitions)})
    for event in _events(dataset):
        minute = int(_epoch_s(event["timestamp"])) // 60 * 60_000
        for states, key in ((observed.totals, event["serialNumber"]), (observed.windows, (event["serialNumber"], minute))):
            state: Any = states.setdefault(key, {name: {"count": 0, "sum": 0.0, "min": 1e9, "max": -1e9} for name in METRICS})
            for name, value in event["telemetryData"].items():
                metric = state[name]
                metric.update(count=metric["count"] + 1, sum=metric["sum"] + value, last=value)
                metric.update(min=min(metric["min"], value), max=max(metric["max"], value))
    return observed


def _events(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for _, _, value in Dataset(dataset.shape).generate():
        yield json.loads(value)


def _epoch_s(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_the_same_seed_gives_the_same_events(dataset: Dataset) -> None:
    assert list(Dataset(dataset.shape).generate()) == list(Dataset(dataset.shape).generate())


def test_right_results_are_exact(dataset: Dataset, right: Observed) -> None:
    verdict = compare(dataset, right, every=1)

    assert verdict.right, verdict.detail
    assert verdict.detail == f"exact: 300 events, 10 devices, {len(right.windows)} windows"


@pytest.mark.parametrize(("name", "change"), [("count", 1), ("sum", 0.1), ("min", 0.1), ("max", -0.1), ("last", 0.1)])
def test_one_wrong_value_of_one_device_is_found(dataset: Dataset, right: Observed, name: str, change: float) -> None:
    metrics: Any = right.totals["INV-00003"]["voltage"]
    metrics[name] += change

    verdict = compare(dataset, right)

    assert not verdict.right
    assert "1 of 10 devices" in verdict.detail


def test_a_missing_device_and_a_missing_window_are_found(dataset: Dataset, right: Observed) -> None:
    del right.totals["INV-00003"]
    del right.windows[next(iter(right.windows))]

    verdict = compare(dataset, right, every=1)

    assert "1 of 10 devices, 1 of" in verdict.detail


def test_windows_that_a_peer_may_forget_are_not_missed(dataset: Dataset, right: Observed) -> None:
    right.all_windows = False
    del right.windows[next(iter(right.windows))]

    assert compare(dataset, right, every=1).right


def test_only_what_is_before_the_offsets_counts(dataset: Dataset, right: Observed) -> None:
    right.ends[0] -= 1

    assert not compare(dataset, right).right

"""The quick histogram is one of prometheus_client's in all that a scrape shows."""

import random

import pytest
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest

from ems_streams.metrics.quick import QuickHistogram

BUCKETS = (0.005, 0.25, 1.0, 2.5, 10.0)


def scraped(histogram: Histogram | QuickHistogram) -> str:
    registry = CollectorRegistry()
    registry.register(histogram)
    return generate_latest(registry).decode()


def test_it_is_scraped_as_the_librarys_own() -> None:
    disable_created_metrics()
    ours = QuickHistogram("ems_things_seconds", "Things", ("agent",), BUCKETS)
    theirs = Histogram("ems_things_seconds", "Things", ("agent",), registry=None, buckets=BUCKETS)
    given = random.Random(7)
    for agent in ("a", "b"):
        mine, other = ours.labels(agent), theirs.labels(agent)
        for value in [*BUCKETS, 0.0, 100.0, *(given.expovariate(1.0) for _ in range(1000))]:
            mine.observe(value)
            other.observe(value)
    ours.labels("idle")
    theirs.labels("idle")
    assert scraped(ours) == scraped(theirs)


def test_labels_are_as_many_as_were_defined() -> None:
    with pytest.raises(ValueError, match="ems_things_seconds"):
        QuickHistogram("ems_things_seconds", "Things", ("agent",), BUCKETS).labels("a", "b")

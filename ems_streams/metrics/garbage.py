"""How often Python's cyclic garbage collector has run, read from the interpreter at the scrape."""

import gc
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

COLLECTIONS = "ems_gc_collections_total"
TEXT = "Runs of the garbage collector, by generation; one of generation 2 stops the process for as long as it takes to look at everything"


class GarbageCollector(Collector):
    """The counts of `gc.get_stats`, which cost nothing between two scrapes."""

    def collect(self) -> Iterable[CounterMetricFamily]:
        """For the registry."""
        family = CounterMetricFamily(COLLECTIONS.removesuffix("_total"), TEXT, labels=["generation"])
        for generation, counts in enumerate(gc.get_stats()):
            family.add_metric([str(generation)], counts["collections"])
        yield family

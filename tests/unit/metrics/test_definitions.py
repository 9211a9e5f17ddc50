"""The list of metrics: closed, named as Prometheus wants it, bounded."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ems_streams.metrics import DEFINITIONS, LABEL_VALUES, Kind, Label, Process
from ems_streams.metrics.model import Definitions

ROOT = Path(__file__).parents[3]
BASE_UNITS = ("_seconds", "_bytes", "_records", "_messages", "_rows")


@pytest.mark.parametrize("definition", [*DEFINITIONS], ids=lambda each: each.name)
def test_names_say_kind_and_unit(definition) -> None:
    assert re.fullmatch(r"ems_[a-z][a-z0-9_]*", definition.name)
    assert definition.name.endswith("_total") == (definition.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|millis|kb|mb|minutes|percent)(_|$)", definition.name), "base units: seconds, bytes"
    if definition.kind is Kind.HISTOGRAM:
        assert definition.name.endswith(BASE_UNITS)
    assert definition.help
    assert definition.processes
    assert len(set(definition.labels)) == len(definition.labels)


def test_no_label_names_a_device_and_each_has_its_bound() -> None:
    assert LABEL_VALUES.keys() == set(Label)
    assert {label for each in DEFINITIONS for label in each.labels} == set(Label), "a label that no metric has"
    assert not [label for label in Label if re.search("serial|device|site|client|message|path|key", label)]


def test_each_process_has_metrics_of_its_own_and_no_name_twice() -> None:
    for process in Process:
        registry = CollectorRegistry()
        for instrument in dict.fromkeys(each.instrument for each in DEFINITIONS if process in each.processes):
            registry.register(instrument)  # raises when two have series of one name
        assert any(each.processes == {process} for each in DEFINITIONS)


def test_a_name_that_is_taken_or_foreign_is_refused() -> None:
    definitions = Definitions()
    definitions.counter("ems_things_total", "Things", frozenset(Process))
    with pytest.raises(ValueError, match="ems_things_total"):
        definitions.counter("ems_things_total", "Things", frozenset(Process))
    with pytest.raises(ValueError, match="other_things"):
        definitions.gauge("other_things", "Things", frozenset(Process))


def test_nothing_else_makes_metrics() -> None:
    """The list is closed: whoever counts something defines it there."""
    made = re.compile(r"(from|import) prometheus_client")
    files = {path.relative_to(ROOT) for package in ("ems_streams", "agents", "tables") for path in (ROOT / package).rglob("*.py")}
    importing = {str(path) for path in files if made.search((ROOT / path).read_text())}
    assert importing == {
        "ems_streams/metrics/quick.py",
        "ems_streams/metrics/model.py",
        "ems_streams/metrics/everywhere.py",
        "ems_streams/metrics/garbage.py",
        "ems_streams/ops/monitoring.py",
    }

"""Rules and dashboards of `docker/`, and what is wrong with how an expression uses our metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ems_streams.metrics import DEFINITIONS, Definition, Kind
from tests.support.promql import OF_COUNTERS, OF_GAUGES, Selector, read

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docker/prometheus/alerts.yml"
DASHBOARDS = sorted((ROOT / "docker/grafana/dashboards").glob("*.json"))
OF_PROMETHEUS = frozenset({"job", "instance"})
"""Labels that Prometheus gives to every series."""
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_VARIABLE_QUERY = re.compile(r"^label_values\((?P<expression>.+), *(?P<label>\w+)\)$")


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where it is, and the text of every expression of rules and dashboards."""
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.name}, panel {panel['title']!r}", target["expr"]


def variables() -> Iterator[tuple[str, str, str]]:
    """Where it is, the selector and the label of every variable of dashboards that is asked for."""
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                found = _VARIABLE_QUERY.match(variable["query"])
                assert found is not None, f"{path.name}: {variable['query']!r} is no query that is understood"
                yield f"{path.name}, variable {variable['name']}", found["expression"], found["label"]


def definition_of(metric: str) -> Definition | None:
    """The definition that a series belongs to."""
    plain = DEFINITIONS.get(metric)
    if plain is not None:
        # Of a histogram there are only the series with a suffix.
        return None if plain.kind is Kind.HISTOGRAM else plain
    of_histogram = DEFINITIONS.get(_SUFFIX.sub("", metric))
    return of_histogram if of_histogram is not None and of_histogram.kind is Kind.HISTOGRAM else None


def faults(text: str) -> list[str]:
    """What an expression uses that there is not, or uses as what it is not."""
    expression = read(text)
    known: set[str] = set(OF_PROMETHEUS)
    found: list[str] = []
    for selector in expression.selectors:
        labels = _labels_of(selector, found)
        known |= labels
        found += [f"{selector.metric} has no label {label}" for label in selector.matchers if label not in labels]
    found += [f"no metric here has the label {label}" for label in sorted(expression.grouped_by - known)]
    return found


def _labels_of(selector: Selector, found: list[str]) -> set[str]:
    if selector.metric == "up":
        return set(OF_PROMETHEUS)
    definition = definition_of(selector.metric)
    if definition is None:
        found.append(f"there is no metric {selector.metric}")
        return set(OF_PROMETHEUS)
    grows = definition.kind is not Kind.GAUGE
    if (selector.function in OF_COUNTERS and not grows) or (selector.function in OF_GAUGES and grows):
        found.append(f"{selector.function} of {selector.metric}, which is a {definition.kind}")
    return {*map(str, definition.labels), *OF_PROMETHEUS, *(["le"] if selector.metric.endswith("_bucket") else [])}

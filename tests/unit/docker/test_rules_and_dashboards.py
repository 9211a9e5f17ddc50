"""Alert rules and dashboards use metrics and labels that the code defines; each alert has its page in the runbook."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ems_streams.metrics import DEFINITIONS
from tests.support.metric_use import ALERTS, DASHBOARDS, ROOT, alerts, definition_of, expressions, faults, variables
from tests.support.promql import read

RUNBOOK = (ROOT / "docs/runbook.md").read_text()


@pytest.mark.parametrize(("where", "text"), [*expressions()])
def test_every_metric_and_label_exists(where: str, text: str) -> None:
    assert faults(text) == [], where


@pytest.mark.parametrize(("where", "text", "label"), [*variables()])
def test_every_variable_of_a_dashboard_is_a_label(where: str, text: str, label: str) -> None:
    assert faults(f"sum by ({label}) ({text})") == [], where


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate(ems_commits_total[5m])", "there is no metric ems_commits_total"),
        ("rate(ems_commit_seconds[5m])", "there is no metric ems_commit_seconds"),
        ('ems_commit_failures_total{serial="INV-1"}', "ems_commit_failures_total has no label serial"),
        ("sum by (channel) (ems_commit_failures_total)", "no metric here has the label channel"),
        ("rate(ems_mqtt_connected[5m])", "rate of ems_mqtt_connected, which is a gauge"),
        ("deriv(ems_commit_failures_total[5m])", "deriv of ems_commit_failures_total, which is a counter"),
        ("sum by (le) (ems_mqtt_connected)", "no metric here has the label le"),
    ],
)
def test_what_does_not_exist_is_found(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_metric_that_is_renamed_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {each.name: each for each in DEFINITIONS}
    for definition in everything.values():
        used = [where for where, text in expressions() for each in read(text).selectors if definition_of(each.metric) is definition]
        if not used:
            continue
        with monkeypatch.context() as patched:
            patched.setattr(DEFINITIONS, "_by_name", {name: each for name, each in everything.items() if each is not definition})
            assert any(faults(text) for where, text in expressions() if where in used), definition.name


def test_nearly_every_metric_is_looked_at_somewhere() -> None:
    used = {definition_of(each.metric) for _, text in expressions() for each in read(text).selectors}
    unused = {each.name for each in DEFINITIONS if each not in used}
    # Told by a variable, or only of use by hand.
    assert unused == {"ems_build_info", "ems_health_check_state_seconds", "ems_process_virtual_memory_bytes"}


@pytest.mark.parametrize("alert", alerts(), ids=lambda each: each["alert"])
def test_each_alert_has_its_page_in_the_runbook(alert) -> None:
    name = alert["alert"]
    page = re.search(rf"^### {name}\n(.+?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert page is not None, "no section of that name"
    for part in ("**Means:** ", "**Look at:** ", "**Do:** "):
        assert part in page[1], f"the section does not say {part}"
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert alert["annotations"]["summary"]
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_has_no_page_of_an_alert_that_there_is_not() -> None:
    pages = re.findall(r"^### (Ems\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(pages) == sorted(each["alert"] for each in alerts())


def test_links_within_the_runbook_lead_somewhere() -> None:
    headings = re.findall(r"^##+ (.+)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
    links = re.findall(r"\]\(#([^)]+)\)", RUNBOOK)
    assert links
    assert [each for each in links if each not in anchors] == []


def test_labels_in_summaries_are_there() -> None:
    for alert in alerts():
        expression = read(alert["expr"])
        known = expression.grouped_by | {"job", "instance"}
        for each in expression.selectors:
            found = definition_of(each.metric)
            known |= set(found.labels) if found is not None else set()
        told = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert told <= known, alert["alert"]


def test_jobs_are_those_of_the_scrape_configuration() -> None:
    configured = {job["job_name"] for job in yaml.safe_load(Path(ALERTS).with_name("prometheus.yml").read_text())["scrape_configs"]}
    for where, text in [*expressions(), *((where, text) for where, text, _ in variables())]:
        for each in read(text).selectors:
            if "job" in each.matchers:
                pattern = each.matchers["job"][1]
                assert any(re.fullmatch(pattern, job) for job in configured), where


def test_dashboards_have_ids_of_their_own_and_panels_that_do_not_overlap() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({each["uid"] for each in boards}) == len(boards) == 5
    for board in boards:
        taken = [
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for panel in board["panels"]
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        ]
        assert len(set(taken)) == len(taken), board["title"]
        assert max(x for x, _ in taken) < 24

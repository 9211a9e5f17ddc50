"""The reader of PromQL that rules and dashboards are checked with."""

import pytest

from tests.support.promql import Selector, read


def test_metrics_with_their_matchers_and_the_function_around_them() -> None:
    text = 'sum by (job, topic) (rate(ems_a_total{kind="x", topic!~"a.*"}[5m] offset 1h)) / max(ems_b) > 1.5e3'
    assert read(text).selectors == [
        Selector("ems_a_total", {"kind": ("=", "x"), "topic": ("!~", "a.*")}, "rate"),
        Selector("ems_b", {}, "max"),
    ]
    assert read(text).grouped_by == {"job", "topic"}


def test_a_plain_comparison_and_variables_of_grafana() -> None:
    text = 'ems_a{instance=~"$instance"} < on () group_left (agent) ems_b and increase(ems_c_total[$__rate_interval]) > 0'
    found = read(text)
    assert [each.metric for each in found.selectors] == ["ems_a", "ems_b", "ems_c_total"]
    assert found.selectors[2].function == "increase"
    assert found.grouped_by == {"agent"}


def test_grouping_may_follow_and_labels_of_any_aggregation_count() -> None:
    assert read("histogram_quantile(0.99, sum(rate(ems_a_bucket[5m])) by (le, agent))").grouped_by == {"le", "agent"}


@pytest.mark.parametrize(
    "text", ["sum(ems_a", "ems_a)", "ratee(ems_a[5m])", 'ems_a{kind="x}', "ems_a{kind}", "ems_a & ems_b", "rate(ems_a[5m)]", "sum by ems_a"]
)
def test_what_is_no_promql_is_refused(text: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        read(text)

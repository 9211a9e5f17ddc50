"""The built-in rules: what they are about is what devices of these types send."""

from ems_streams.dev.simulator import FleetOptions, build_fleet
from ems_streams.domain.alarm_rule_advice import advice_on
from ems_streams.domain.events import Severity
from ems_streams.rules.builtin import builtin_rules


def test_each_type_of_the_fleet_has_rules_and_sends_the_metrics_that_they_are_about() -> None:
    fleet = build_fleet(FleetOptions(seed=1, devices=8, sites=1, rate=1.0, duration_s=1.0, start_ms=0))
    sent = {identity.device_type: set(model.read(1_750_496_400.0)) for identity, model in fleet}
    about: dict[str, set[str]] = {}
    for rule in builtin_rules():
        (device_type,) = rule.scope.device_types or ()
        about.setdefault(device_type, set()).add(str(rule.condition.metric))

    assert about.keys() == sent.keys()
    assert {name: metrics - sent[name] for name, metrics in about.items()} == {name: set() for name in sent}


def test_all_say_why_and_none_flaps_on_noise() -> None:
    rules = builtin_rules()

    assert len({rule.id for rule in rules}) == len(rules) > 20
    assert [rule.id for rule in rules if not rule.description] == []
    limited = [rule for rule in rules if hasattr(rule.condition, "limits")]
    assert [rule.id for rule in limited if rule.condition.limits.clear_at == rule.condition.limits.raise_at] == []
    assert [text for rule in rules for text in advice_on(rule)] == []
    assert {rule.severity for rule in rules} == set(Severity)
    assert [rule.id for rule in rules if rule.message and "{forS}" in rule.message and not rule.condition.for_s] == []

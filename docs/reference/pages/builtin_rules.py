"""builtin-rules.md: the alarm rules that come with the system, from their file."""

from ems_streams.domain.alarm_rule_words import condition_in_words, scope_in_words, severity_in_words
from ems_streams.rules.builtin import builtin_rules

INTRODUCTION = """\
# Built-in alarm rules

Made from `ems_streams/rules/resources/builtin.yaml`. `ems-streams dev` applies them when nobody has ever applied any (`--no-builtin-rules` does not);
elsewhere `ems-streams rules apply --builtin` does. How to change or remove them is in [How to write alarm rules](../howto/alarm-rules.md#built-in-rules).

| rule | for | severity | condition | why |
|---|---|---|---|---|
"""


def page() -> str:
    """The built-in alarm rules in Markdown."""
    rows = [
        f"| `{rule.id}`<br>{rule.title} | {scope_in_words(rule.scope)} | {severity_in_words(rule)} | {condition_in_words(rule.condition)} "
        f"| {rule.description} |\n"
        for rule in builtin_rules()
    ]
    return INTRODUCTION + "".join(rows)

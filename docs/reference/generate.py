"""Prints docs/reference/settings.md, or with its name another of the files that are made from the code: `make docs`."""

import sys

from ems_streams.domain import alarm_table, command_table
from ems_streams.domain.alarm_rule_words import condition_in_words, scope_in_words, severity_in_words
from ems_streams.domain.alarm_table import AlarmInput, AlarmState
from ems_streams.domain.command_table import FINAL, CommandInput, CommandStatus
from ems_streams.domain.events import DeviceStatus
from ems_streams.domain.status_table import TRANSITIONS, StatusInput, next_status
from ems_streams.metrics import DEFINITIONS, EVERYWHERE, LABEL_VALUES, Definition, Process
from ems_streams.rules.builtin import builtin_rules
from ems_streams.settings import Settings, as_set, environment_names, is_secret

INTRODUCTION = """\
# Settings

Environment variables, or lines in `.env`; the environment wins. Every name can be given as `NAME_FILE` with the path of a file that holds the value, as
for secrets. An empty value counts as not set. `ems-streams config show` prints what is in force.

| setting | default | meaning |
|---|---|---|
"""


def settings_reference() -> str:
    """The reference in Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        names = environment_names(name, field)[::2]
        secret = " (secret)" if is_secret(field) else ""
        default = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        shown = "" if default in (None, {}) else f"`{as_set(default)}`"
        rows.append(f"| {' or '.join(f'`{each}`' for each in names)} | {shown} | {field.description}{secret} |\n")
    return INTRODUCTION + "".join(rows)


STATUS_INTRODUCTION = """\
# The status machine

The statuses of a device and what makes one of another, drawn from the table in `ems_streams/domain/status_table.py`. What is not drawn stays as it is. What
counts as an input, and what is told to people, is in [How to know which devices are there](../howto/status.md).

"""

IN_WORDS = {
    StatusInput.REPORTED_ONLINE: "reports ONLINE",
    StatusInput.REPORTED_OFFLINE: "reports OFFLINE, or last will",
    StatusInput.REPORTED_MAINTENANCE: "reports MAINTENANCE",
    StatusInput.REPORTED_ERROR: "reports ERROR",
    StatusInput.TELEMETRY: "telemetry",
    StatusInput.SILENCE: "silence",
}


def status_reference() -> str:
    """The table of transitions in Markdown, drawn and as a table."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (status, happened), new_status in TRANSITIONS.items():
        edges.setdefault((status, new_status), []).append(IN_WORDS[happened])
    drawn = [f"    {status} --> {new_status}: {' / '.join(words)}\n" for (status, new_status), words in edges.items()]
    rows = [
        f"| {status} | {' | '.join(next_status(status, happened) or '' for happened in StatusInput)} |\n"
        for status in (DeviceStatus.UNKNOWN, *(each for each in DeviceStatus if each is not DeviceStatus.UNKNOWN))
    ]
    head = f"| status | {' | '.join(IN_WORDS[happened] for happened in StatusInput)} |\n|{'---|' * (len(StatusInput) + 1)}\n"
    picture = "```mermaid\nstateDiagram-v2\n    [*] --> UNKNOWN\n" + "".join(drawn) + "```\n"
    return f"{STATUS_INTRODUCTION}{picture}\nAn empty cell is no transition.\n\n{head}{''.join(rows)}"


ALARM_INTRODUCTION = """\
# The life of an alarm

Drawn from the table in `ems_streams/domain/alarm_table.py`. What each step means, and who is told, is in [How to live with alarms](../howto/alarms.md).

"""

ALARM_WORDS = {
    AlarmInput.ACKNOWLEDGE: "acknowledged",
    AlarmInput.ESCALATE: "not acknowledged in time: severity goes up",
    AlarmInput.CONDITION_OVER: "condition over",
    AlarmInput.RULE_CHANGED: "rule changed",
    AlarmInput.RULE_DISABLED: "rule switched off",
    AlarmInput.RULE_REMOVED: "rule removed",
    AlarmInput.DEVICE_MOVED: "device moved",
    AlarmInput.DEVICE_REMOVED: "device removed",
}


def alarm_reference() -> str:
    """The table of the states of alarms in Markdown, drawn and as a table."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (state, happened), new_state in alarm_table.TRANSITIONS.items():
        edges.setdefault((state, new_state), []).append(ALARM_WORDS[happened])
    drawn = [f"    {state} --> {new_state}: {' / '.join(words)}\n" for (state, new_state), words in edges.items()]
    rows = [
        f"| {state} | {' | '.join(alarm_table.next_state(state, happened) or '' for happened in AlarmInput)} |\n" for state in AlarmState
    ]
    head = f"| state | {' | '.join(ALARM_WORDS[happened] for happened in AlarmInput)} |\n|{'---|' * (len(AlarmInput) + 1)}\n"
    picture = "```mermaid\nstateDiagram-v2\n    [*] --> RAISED\n" + "".join(drawn) + "    CLEARED --> [*]\n```\n"
    return f"{ALARM_INTRODUCTION}{picture}\nAn empty cell changes nothing.\n\n{head}{''.join(rows)}"


RULES_INTRODUCTION = """\
# Built-in alarm rules

Made from `ems_streams/rules/resources/builtin.yaml`. `ems-streams dev` applies them when nobody has ever applied any (`--no-builtin-rules` does not);
elsewhere `ems-streams rules apply --builtin` does. How to change or remove them is in [How to write alarm rules](../howto/alarm-rules.md#built-in-rules).

| rule | for | severity | condition | why |
|---|---|---|---|---|
"""


def rules_reference() -> str:
    """The built-in alarm rules in Markdown."""
    rows = [
        f"| `{rule.id}`<br>{rule.title} | {scope_in_words(rule.scope)} | {severity_in_words(rule)} | {condition_in_words(rule.condition)} "
        f"| {rule.description} |\n"
        for rule in builtin_rules()
    ]
    return RULES_INTRODUCTION + "".join(rows)


METRICS_INTRODUCTION = """\
# Metrics

`GET /metrics` of every process, in Prometheus' text format, on the port of its health endpoints. A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. A
process exports its own metrics only. Dashboards, alert rules and a scrape configuration are in `docker/`; [what to do about an alert](../runbook.md#alerts).

"""


def metrics_reference() -> str:
    """All metrics in Markdown, by process, and what bounds each label."""
    parts = [METRICS_INTRODUCTION, _metrics_of("Of every process", [each for each in DEFINITIONS if each.processes == EVERYWHERE])]
    for process in Process:
        own = [each for each in DEFINITIONS if process in each.processes and each.processes != EVERYWHERE]
        parts.append(_metrics_of(f"{process.capitalize()}", own))
    rows = "".join(f"| `{label}` | {values} |\n" for label, values in LABEL_VALUES.items())
    parts.append(
        f"## Labels\n\nNone names a device, so that there are as many series as a deployment has parts.\n\n| label | values |\n|---|---|\n{rows}"
    )
    return "".join(parts)


def _metrics_of(title: str, definitions: list[Definition]) -> str:
    rows = "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |\n" for each in definitions
    )
    return f"## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}\n"


COMMAND_INTRODUCTION = """\
# The life of a command

The statuses of a command and what makes one of another, drawn from the table in `ems_streams/domain/command_table.py`. What is not drawn changes nothing. What each means is in
[How to have a device do something](../howto/commands.md).

"""

COMMAND_IN_WORDS = {
    CommandInput.SENT: "its turn: packet id is durable",
    CommandInput.BROKER_TOOK: "PUBCOMP of the broker",
    CommandInput.BROKER_REFUSED: "broker refuses it, or it is certain not to have been sent",
    CommandInput.ANSWERED_ACCEPTED: "device: ACCEPTED",
    CommandInput.ANSWERED_REJECTED: "device: REJECTED",
    CommandInput.ANSWERED_COMPLETED: "device: COMPLETED",
    CommandInput.ANSWERED_FAILED: "device: FAILED",
    CommandInput.TIME: "no answer in time",
    CommandInput.CANCEL: "cancelled",
}


def command_reference() -> str:
    """The table of a command's life in Markdown, drawn and as a table."""
    drawn = [
        f"    {status} --> {new_status}: {COMMAND_IN_WORDS[happened]}\n"
        for (status, happened), new_status in command_table.TRANSITIONS.items()
    ]
    ends = [f"    {status} --> [*]\n" for status in CommandStatus if status in FINAL]
    rows = [
        f"| {status} | {' | '.join(command_table.next_status(status, happened) or '' for happened in CommandInput)} |\n"
        for status in CommandStatus
    ]
    head = f"| status | {' | '.join(COMMAND_IN_WORDS.values())} |\n|{'---|' * (len(CommandInput) + 1)}\n"
    picture = "```mermaid\nstateDiagram-v2\n    [*] --> REQUESTED\n" + "".join(drawn + ends) + "```\n"
    return f"{COMMAND_INTRODUCTION}{picture}\nAn empty cell changes nothing.\n\n{head}{''.join(rows)}"


PAGES = {
    "settings": settings_reference,
    "status-machine": status_reference,
    "alarm-lifecycle": alarm_reference,
    "builtin-rules": rules_reference,
    "command-life": command_reference,
    "metrics": metrics_reference,
}

if __name__ == "__main__":
    print(PAGES[sys.argv[1] if sys.argv[1:] else "settings"](), end="")

"""`ems-streams rules`: what raises alarms."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_table
from ems_streams.cli.rules_check import BuiltinOption, FileArgument, check, loaded_rules, name_of
from ems_streams.cli.running import run_with_settings
from ems_streams.cli.user import user_name
from ems_streams.errors import EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.domain.alarm_rule_changes import Change, RuleChanges
    from ems_streams.domain.alarm_rules import AlarmRule
    from ems_streams.kafka.alarm_rules import StoredRule, StoredRules

app = typer.Typer(
    help="Alarm rules: check files of them, try them on data, and bring them to the workers, none of which is restarted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command()(check)

ByOption = Annotated[str | None, typer.Option("--by", help="Who does it; default the user.")]


@app.command()
def apply(
    file: FileArgument = None,
    builtin: BuiltinOption = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove rules that are not in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Bring the rules of a file to all workers, all of them or none, and show what that changes."""
    from ems_streams.rules.applying import apply_rules

    rules = loaded_rules(file, builtin)
    changes = run_with_settings("rules", lambda settings: apply_rules(settings, rules, prune=prune, by=by or user_name(), dry_run=dry_run))
    if json:
        print_json({"file": name_of(file), "dryRun": dry_run, **_changes_view(changes)})
    else:
        _print_changes(changes, dry_run=dry_run)


@app.command(name="list")
def list_(json: JsonOption = False) -> None:
    """List the rules that the workers go by."""
    from ems_streams.domain.alarm_rule_words import condition_in_words, scope_in_words, severity_in_words

    stored = _stored()
    if json:
        print_json([_view(each) for each in stored.by_id.values()])
    else:
        rows = [
            (
                each.rule.id,
                severity_in_words(each.rule),
                "" if each.rule.enabled else "off",
                scope_in_words(each.rule.scope),
                condition_in_words(each.rule.condition),
                f"{each.applied_at:%Y-%m-%dT%H:%M:%SZ}",
                each.applied_by,
            )
            for each in stored.by_id.values()
        ]
        print_table(("ID", "SEVERITY", "", "FOR", "CONDITION", "APPLIED", "BY"), rows)
    _tell_unreadable(stored)


@app.command()
def show(
    rule_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Of rules; default all.")] = None,
    json: JsonOption = False,
) -> None:
    """Print rules as a file, which can be changed and applied. Exit 1 when there is none of an id."""
    stored = _stored()
    wanted = _found(stored.by_id, rule_ids)
    if json:
        found = [_view(each) for each in wanted]
        print_json(found[0] if rule_ids and len(rule_ids) == 1 else found)
        return
    console().print(_as_file([each.rule for each in wanted]), markup=False, end="")
    _tell_unreadable(stored)


@app.command()
def remove(
    rule_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Of rules.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All rules.")] = False,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Remove rules; their alarms are cleared. Exit 1, and nothing is removed, when there is none of an id."""
    from ems_streams.rules.applying import remove_rules

    if bool(rule_ids) == every:
        raise UsageError("expected ids of rules, or --all")
    removed = run_with_settings("rules", lambda settings: remove_rules(settings, None if every else rule_ids, by=by or user_name()))
    if json:
        print_json({"removed": removed})
    else:
        console().print(f"removed: {', '.join(removed)}" if removed else "there was no rule", markup=False)


def _stored() -> "StoredRules":
    from ems_streams.kafka.alarm_rules import stored_rules

    return run_with_settings("rules", stored_rules)


def _found(by_id: "Mapping[str, StoredRule]", rule_ids: list[str] | None) -> "list[StoredRule]":
    for rule_id in rule_ids or ():
        if rule_id not in by_id:
            raise EmsError(f"there is no alarm rule {rule_id!r}; `ems-streams rules list` shows those that there are")
    return [by_id[rule_id] for rule_id in rule_ids or by_id]


def _as_file(rules: "Sequence[AlarmRule]") -> str:
    import yaml

    from ems_streams.domain.alarm_rules import rule_view

    text: str = yaml.safe_dump({"rules": [rule_view(rule) for rule in rules]}, sort_keys=False, allow_unicode=True, width=120)
    return text


def _view(stored: "StoredRule") -> dict[str, Any]:
    from ems_streams.domain.alarm_rules import rule_view
    from ems_streams.domain.events import format_time

    return {**rule_view(stored.rule), "appliedAt": format_time(stored.applied_at), "appliedBy": stored.applied_by}


def _changes_view(changes: "RuleChanges") -> dict[str, Any]:
    return {
        "added": [rule.id for rule in changes.added],
        "changed": [
            {"id": rule.id, "changes": [{"place": each.place, "before": each.before, "after": each.after} for each in differences]}
            for rule, differences in changes.changed
        ],
        "removed": list(changes.removed),
        "unchanged": list(changes.unchanged),
    }


def _print_changes(changes: "RuleChanges", *, dry_run: bool) -> None:
    from ems_streams.domain.alarm_rule_words import condition_in_words, scope_in_words

    said = console()
    for rule in changes.added:
        text = f"+ {rule.id}: {rule.severity}, {scope_in_words(rule.scope)}, {condition_in_words(rule.condition)}"
        said.print(text, style="green", markup=False, soft_wrap=True)
    for rule, differences in changes.changed:
        text = f"~ {rule.id}: {'; '.join(_difference(each) for each in differences)}"
        said.print(text, style="yellow", markup=False, soft_wrap=True)
    for rule_id in changes.removed:
        said.print(f"- {rule_id}", style="red", markup=False, soft_wrap=True)
    counts = f"{len(changes.added)} added, {len(changes.changed)} changed, {len(changes.removed)} removed"
    outcome = "nothing written" if dry_run or changes.nothing else "written"
    said.print(f"{counts}, {len(changes.unchanged)} as they were; {outcome}", markup=False)


def _difference(change: "Change") -> str:
    def shown(value: Any) -> str:
        return "(absent)" if value is None else str(value)

    return f"{change.place}: {shown(change.before)} -> {shown(change.after)}"


def _tell_unreadable(stored: "StoredRules") -> None:
    for key, reason in stored.unreadable.items():
        error_console().print(f"a record is no rule, and no worker goes by it: {key!r}: {reason}", style="yellow", markup=False)

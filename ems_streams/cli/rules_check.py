"""`ems-streams rules check`: a file of rules, and what its rules would have raised."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json
from ems_streams.cli.progress import progress_bar
from ems_streams.cli.rules_trial import print_trial, trial_view
from ems_streams.cli.running import run_with_settings
from ems_streams.cli.times import past_of
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.domain.alarm_rules import AlarmRule
    from ems_streams.domain.alarm_trial import TrialResult
    from ems_streams.rules.signals import Signal
    from ems_streams.rules.trial import Source
    from ems_streams.settings import Settings
    from ems_streams.yaml_files.document import Problem

    Trialled = tuple[TrialResult, Source, list[Signal]]

FileArgument = Annotated[Path | None, typer.Argument(metavar="FILE", help="File of rules, YAML.")]
BuiltinOption = Annotated[bool, typer.Option("--builtin", help="Instead of a file: the rules that come with EMS Streams.")]


def check(
    file: FileArgument = None,
    builtin: BuiltinOption = False,
    recorded: Annotated[Path | None, typer.Option("--recorded", metavar="DATA", help="Try the rules on telemetry of this file.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Of that file: csv or jsonl; default by its name.")] = None,
    from_topic: Annotated[bool, typer.Option("--from-topic", help="Try the rules on what is on device-telemetry.")] = False,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From then on, or so long ago (2h); default 1h.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Until then, or until so long ago; default now.")] = None,
    devices: Annotated[list[str] | None, typer.Option("--device", metavar="SERIAL", help="Only this device; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most alarms in the table.")] = 100,
    plot: Annotated[int, typer.Option("--plot", min=0, help="Draw the signals of so many alarms.")] = 0,
    json: JsonOption = False,
) -> None:
    """Say what is wrong with a file of rules, all of it, with line, place, value and what is expected; exit 1 when anything is.

    With --recorded or --from-topic, show what the rules would have raised on real data. Nothing is written.
    """
    rules = _checked(file, builtin, json)
    if recorded is None and not from_topic:
        _refuse({"--format": format_, "--since": since, "--until": until, "--device": devices, "--plot": plot})
        if json:
            print_json(_checked_view(file, rules))
        else:
            _advise(rules)
            console().print(f"{name_of(file)}: {len(rules)} rules, nothing wrong", markup=False)
        return
    if recorded is not None:
        if from_topic:
            raise UsageError("expected either --recorded or --from-topic")
        _refuse({"--since": since, "--until": until}, "--from-topic")
        result, source, signals = _on_file(rules, recorded, format_, devices or [], plot, quiet=json)
    else:
        _refuse({"--format": format_}, "--recorded")
        result, source, signals = _on_topic(rules, since, until, devices or [], plot, quiet=json)
    if json:
        print_json({**_checked_view(file, rules), **trial_view(result, source)})
    else:
        _advise(rules)
        print_trial(result, source, limit, signals)


def loaded_rules(file: Path | None, builtin: bool) -> "Sequence[AlarmRule]":
    """The rules of a file, or the built-in ones; raises `RulesFileError` with all mistakes."""
    from ems_streams.rules.builtin import builtin_rules
    from ems_streams.rules.file import load_rules

    if (file is None) != builtin:
        raise UsageError("expected a file of rules, or --builtin")
    return builtin_rules() if file is None else load_rules(file)


def name_of(file: Path | None) -> str:
    """What rules are from, for people."""
    return "built-in rules" if file is None else str(file)


def _refuse(options: Mapping[str, object], wanted: str = "--recorded or --from-topic") -> None:
    for name, given in options.items():
        if given:
            raise UsageError(f"{name}: expected only with {wanted}")


def _on_file(
    rules: "Sequence[AlarmRule]", path: Path, file_format: str | None, devices: list[str], plot: int, *, quiet: bool
) -> "Trialled":
    from ems_streams.rules.signals import fill_from_file, signals_of
    from ems_streams.rules.trial import FileSource, try_on_file
    from ems_streams.settings import Settings

    source = FileSource(path, file_format, devices)
    with progress_bar(path.name, 0, shown=not quiet) as on_progress:
        result = try_on_file(Settings.load(), rules, source, on_progress)
    signals = signals_of(result, plot)
    if signals:
        fill_from_file(signals, source)
    return result, source, signals


def _on_topic(
    rules: "Sequence[AlarmRule]", since: str | None, until: str | None, devices: list[str], plot: int, *, quiet: bool
) -> "Trialled":
    from ems_streams.domain.timestamps import to_epoch_ms
    from ems_streams.rules.signals import fill_from_topic, signals_of
    from ems_streams.rules.trial import TopicSource, try_on_topic

    now = datetime.now(UTC)
    begin, end = past_of("--since", since or "1h", now), now if until is None else past_of("--until", until, now)
    if not begin < min(end, now):
        raise UsageError(f"--since {begin.isoformat()}: expected a time before {min(end, now).isoformat()}")
    end_ms = to_epoch_ms(min(end, now))

    async def running(settings: "Settings") -> "Trialled":
        source = TopicSource(settings, to_epoch_ms(begin), end_ms, devices)
        with progress_bar(source.name, 0, shown=not quiet) as on_progress:
            result = await try_on_topic(settings, rules, source, end_ms, on_progress)
        signals = signals_of(result, plot)
        if signals:
            await fill_from_topic(signals, source)
        return result, source, signals

    return run_with_settings("rules", running)


def _checked(file: Path | None, builtin: bool, json: bool) -> "Sequence[AlarmRule]":
    """The rules of a file; prints its mistakes and ends with 1 when there are any."""
    from ems_streams.rules.file import RulesFileError

    try:
        return loaded_rules(file, builtin)
    except RulesFileError as error:
        if json:
            print_json({"file": name_of(file), "problems": [_problem_view(each) for each in error.problems]})
        else:
            console().print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _checked_view(file: Path | None, rules: "Sequence[AlarmRule]") -> dict[str, Any]:
    advice = [{"ruleId": rule_id, "advice": text} for rule_id, text in _advice(rules)]
    return {"file": name_of(file), "problems": [], "rules": [rule.id for rule in rules], "advice": advice}


def _advise(rules: "Sequence[AlarmRule]") -> None:
    for rule_id, text in _advice(rules):
        error_console().print(f"{rule_id}: {text}", style="yellow", markup=False)


def _advice(rules: "Sequence[AlarmRule]") -> list[tuple[str, str]]:
    from ems_streams.domain.alarm_rule_advice import advice_on

    return [(rule.id, text) for rule in rules for text in advice_on(rule)]


def _problem_view(problem: "Problem") -> dict[str, Any]:
    return {
        "line": problem.line,
        "column": None if problem.mark is None else problem.mark.column,
        "place": problem.place,
        "value": problem.value,
        "problem": problem.text,
    }

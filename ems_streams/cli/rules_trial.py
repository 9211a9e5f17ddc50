"""What `ems-streams rules check` shows of a trial on data: alarms, totals by rule, and the signal of some of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ems_streams.cli.output import console, error_console, print_table

if TYPE_CHECKING:
    from ems_streams.domain.alarm_trial import RuleTrial, TrialResult
    from ems_streams.domain.alarms import Alarm
    from ems_streams.rules.signals import Signal
    from ems_streams.rules.trial import Source

SHOWN_BAD = 20


def trial_view(result: "TrialResult", source: "Source") -> dict[str, Any]:
    """A trial as JSON."""
    from ems_streams.domain.alarm_trial import duration_s
    from ems_streams.domain.timestamps import format_epoch_ms

    return {
        "source": source.name,
        "messages": result.messages,
        "devices": result.devices,
        "from": None if result.from_ms is None else format_epoch_ms(result.from_ms),
        "to": format_epoch_ms(result.to_ms),
        "bad": [{"line": row.line, "reason": row.reason} for row in source.bad],
        "alarms": [{**alarm.view(), "durationS": duration_s(alarm, result.to_ms)} for alarm in result.alarms],
        "byRule": [_rule_view(each) for each in result.by_rule],
    }


def print_trial(result: "TrialResult", source: "Source", limit: int, signals: "Sequence[Signal]") -> None:
    """A trial for people: signals first, so that the totals are what is seen last."""
    from ems_streams.domain.alarm_trial import duration_s

    rows = [_alarm_row(alarm, duration_s(alarm, result.to_ms)) for alarm in result.alarms[:limit]]
    if rows:
        print_table(("RAISED", "DEVICE", "SITE", "RULE", "SEVERITY", "VALUE", "CLEARED", "FOR", "BECAUSE"), rows, right=("VALUE", "FOR"))
    if len(result.alarms) > limit:
        error_console().print(f"... and {len(result.alarms) - limit} more; --limit shows more, --json all", markup=False)
    for signal in signals:
        _print_signal(signal)
    if rows:
        console().print()
    columns = ("RULE", "DEVICES", "ALARMS", "AT", "ESCALATED", "OPEN", "LONGEST", "ALL", "")
    print_table(columns, [_rule_row(each) for each in result.by_rule], right=columns[1:8])
    _say(result, source)


def lasting(seconds: float) -> str:
    """Such as `2 h 5 min`, `45 s`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _alarm_row(alarm: "Alarm", seconds: float) -> tuple[object, ...]:
    return (
        f"{alarm.raised_at:%Y-%m-%dT%H:%M:%SZ}",
        alarm.serial_number,
        alarm.site_id,
        alarm.rule_id,
        f"{alarm.severity} (escalated)" if alarm.escalated_at is not None else alarm.severity,
        "" if alarm.value is None else f"{alarm.value:.6g}",
        "" if alarm.cleared_at is None else f"{alarm.cleared_at:%Y-%m-%dT%H:%M:%SZ}",
        lasting(seconds),
        alarm.cleared_because or "not over when the data ends",
    )


def _rule_row(each: "RuleTrial") -> tuple[object, ...]:
    lasted = (lasting(each.longest_s), lasting(each.raised_s)) if each.alarms else ("", "")
    return (each.rule.id, each.devices, each.alarms, each.alarmed_devices, each.escalated, each.open, *lasted, _remark(each))


def _remark(each: "RuleTrial") -> str:
    if not each.rule.enabled:
        return "is switched off"
    if not each.devices:
        return "concerns no device of the data"
    if not each.devices_with_metric:
        return f"no device sent {each.rule.condition.metric}"
    return ""


def _rule_view(each: "RuleTrial") -> dict[str, Any]:
    return {
        "ruleId": each.rule.id,
        "enabled": each.rule.enabled,
        "devices": each.devices,
        "devicesWithMetric": each.devices_with_metric,
        "alarms": each.alarms,
        "alarmedDevices": each.alarmed_devices,
        "escalated": each.escalated,
        "open": each.open,
        "longestS": each.longest_s,
        "raisedS": each.raised_s,
        "remark": _remark(each) or None,
    }


def _print_signal(signal: "Signal") -> None:
    from ems_streams.cli.signal_plot import Plot, draw

    alarm = signal.alarm
    said = console()
    said.print()
    said.print(f"{alarm.serial_number} {signal.metric}: {alarm.rule_id}, R raised, C cleared", markup=False)
    plot = Plot(signal.times_ms, signal.values, signal.limits, signal.marks, signal.stood_ms)
    for line in draw(plot) or ["no value of it in the data"]:
        said.print(line, markup=False, soft_wrap=True)


def _say(result: "TrialResult", source: "Source") -> None:
    from ems_streams.domain.timestamps import format_epoch_ms

    said = error_console()
    for row in source.bad[:SHOWN_BAD]:
        said.print(f"{source.name}:{row.line}: {row.reason}", markup=False)
    if len(source.bad) > SHOWN_BAD:
        said.print(f"... and {len(source.bad) - SHOWN_BAD} more; --json shows them", markup=False)
    span = "" if result.from_ms is None else f" from {format_epoch_ms(result.from_ms)} to {format_epoch_ms(result.to_ms)}"
    bad = f", {len(source.bad)} bad" if source.bad else ""
    said.print(
        f"{source.name}: {result.messages} messages of {result.devices} devices{span}{bad}; {len(result.alarms)} alarms", markup=False
    )

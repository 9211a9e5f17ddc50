"""What people read of an alarm: its message, why it is over, and the notifications of its life."""

from collections.abc import Mapping
from typing import Any, Final

from ems_streams.domain.alarm_conditions import SECONDS_PER_MINUTE, Limits, MissingData, RateOfChange, Threshold, WindowStatistic
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_table import AlarmInput
from ems_streams.domain.alarms import AlarmEvent, AlarmEventType
from ems_streams.domain.events import Notification, NotificationKind, format_time
from ems_streams.domain.identifiers import notification_id

CLEARING_CAUSES: Final[Mapping[AlarmInput, str]] = {
    AlarmInput.RULE_CHANGED: "the rule was changed",
    AlarmInput.RULE_DISABLED: "the rule was switched off",
    AlarmInput.RULE_REMOVED: "the rule was removed",
    AlarmInput.DEVICE_MOVED: "the device has moved",
    AlarmInput.DEVICE_REMOVED: "the device was taken out of the registry",
}
"""Why an alarm is over whose condition is not."""


def limit_of(rule: AlarmRule) -> float | None:
    """The limit of a rule, in the unit of what it is compared with (rates: per second); of missing data the seconds."""
    condition = rule.condition
    return condition.for_s if isinstance(condition, MissingData) else condition.limits.raise_at


def in_words(rule: AlarmRule, value: float) -> str:
    """What is wrong, as the condition says it."""
    condition = rule.condition
    if isinstance(condition, MissingData):
        return f"no {condition.metric or 'telemetry'} for {condition.for_s:g} s"
    if isinstance(condition, RateOfChange):
        factor = _factor(rule)
        limit = f"{_limit(condition.limits, factor)}{_held(condition.for_s)}"
        return f"{condition.metric} changes by {value * factor:.6g}{_unit(factor)} over {condition.over_s:g} s, {limit}"
    if isinstance(condition, WindowStatistic):
        what = condition.statistic if condition.metric is None else f"{condition.statistic} of {condition.metric}"
        return f"{what} in {condition.window} is {value:.6g}, {_limit(condition.limits)}"
    return f"{condition.metric} is {value:.6g}, {_limit(condition.limits)}{_held(condition.for_s)}"


def message_of(rule: AlarmRule, facts: Mapping[str, Any], value: float) -> str:
    """What people are told when the alarm is raised.

    Args:
        rule: The rule, which may have words of its own.
        facts: Of the device: `serialNumber`, `siteId`, `deviceType`.
        value: That raised it.
    """
    condition, factor, limit = rule.condition, _factor(rule), limit_of(rule)
    own = {
        "ruleId": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "metric": getattr(condition, "metric", None),
        "value": value * factor,
        "limit": None if limit is None else limit * factor,
        "forS": None if isinstance(condition, WindowStatistic) else condition.for_s,
    }
    words = rule.message_for({**facts, **own})
    return f"{rule.title} at {facts['serialNumber']} (site {facts['siteId']}): {in_words(rule, value)}." if words is None else words


def over_in_words(rule: AlarmRule | None, value: float | None) -> str:
    """Why an alarm is over whose condition is."""
    condition = None if rule is None else rule.condition
    if isinstance(condition, MissingData):
        return f"{condition.metric or 'telemetry'} has come again"
    if value is None or condition is None:
        return "the condition is over"
    if isinstance(condition, RateOfChange):
        factor = _factor(rule)
        return f"{condition.metric} changes by {value * factor:.6g}{_unit(factor)}"
    what = condition.metric if isinstance(condition, Threshold) else condition.statistic
    return f"{what} is {value:.6g}"


def _factor(rule: AlarmRule | None) -> float:
    """What a value per second is multiplied by to be in the unit that the rule is written in."""
    condition = None if rule is None else rule.condition
    return SECONDS_PER_MINUTE if isinstance(condition, RateOfChange) and condition.per_minute else 1.0


def _unit(factor: float) -> str:
    return " per second" if factor == 1.0 else " per minute"


def _limit(limits: Limits, factor: float = 1.0) -> str:
    return f"{'above' if limits.above else 'below'} {limits.raise_at * factor:.6g}"


def _held(for_s: float) -> str:
    return f" for {for_s:g} s" if for_s else ""


_TITLES: Final[Mapping[AlarmEventType, str]] = {
    AlarmEventType.ALARM_RAISED: "{serial}: {title}",
    AlarmEventType.ALARM_ESCALATED: "{serial}: {title} is {severity} now",
    AlarmEventType.ALARM_ACKNOWLEDGED: "{serial}: {title} was acknowledged",
    AlarmEventType.ALARM_CLEARED: "{serial}: {title} is over",
}


def notification_of(event: AlarmEvent, remark: str = "", data: Mapping[str, Any] | None = None) -> Notification:
    """The notification of a step in the life of an alarm: the same one, with the same id, however often the event is read.

    Args:
        event: The step.
        remark: A sentence more, at the end of the message.
        data: Members more of the notification's `data`.
    """
    kind = NotificationKind(event.event_type)
    title = _TITLES[event.event_type].format(serial=event.serial_number, title=event.title, severity=event.severity)
    return Notification(
        notification_id=notification_id(event.event_id, kind),
        kind=kind,
        # That of the alarm also when it is over: whoever was told of it is told that, too.
        severity=event.severity,
        serial_number=event.serial_number,
        site_id=event.site_id,
        device_id=event.device_id,
        title=title,
        message=_message(event) + (remark and f" {remark}"),
        timestamp=event.timestamp,
        data={
            "alarmId": event.alarm_id,
            "ruleId": event.rule_id,
            "eventId": event.event_id,
            "state": event.state,
            "raisedAt": format_time(event.raised_at),
            **{name: each for name, each in (("metric", event.metric), ("value", event.value), ("limit", event.limit)) if each is not None},
            **_facts(event),
            **(data or {}),
        },
    )


def _message(event: AlarmEvent) -> str:
    if event.event_type is AlarmEventType.ALARM_RAISED:
        return event.message
    where = f"{event.title} at {event.serial_number} (site {event.site_id})"
    since = f"raised at {format_time(event.raised_at)}"
    if event.event_type is AlarmEventType.ALARM_ESCALATED:
        return f"{where}, {since}, is {event.severity} now: nobody has acknowledged it. {event.message}"
    if event.event_type is AlarmEventType.ALARM_ACKNOWLEDGED:
        said = f": {event.acknowledged_comment.rstrip('.')}." if event.acknowledged_comment else "."
        return f"{where}, {since}, was acknowledged by {event.acknowledged_by}{said}"
    return f"{where}, {since}, is over: {event.cleared_because}."


def _facts(event: AlarmEvent) -> dict[str, Any]:
    if event.event_type is AlarmEventType.ALARM_ACKNOWLEDGED:
        comment = {} if event.acknowledged_comment is None else {"comment": event.acknowledged_comment}
        return {"acknowledgedBy": event.acknowledged_by, **comment}
    if event.event_type is AlarmEventType.ALARM_CLEARED:
        value = {} if event.cleared_value is None else {"clearedValue": event.cleared_value}
        return {"clearCause": event.clear_cause, "acknowledgedBy": event.acknowledged_by, **value}
    return {"escalated": True} if event.event_type is AlarmEventType.ALARM_ESCALATED else {}

"""Alarm rules as data: whom they concern, what they look for, and how much it matters.

A rule is a record of the compacted topic `alarm-rules`: its key is the rule's id, its value the JSON of the rule, a tombstone removes it. Each rule is in
every partition, so that each partition's agent decides by what it has read itself. In files, rules are YAML with the same names.
"""

import re
from difflib import get_close_matches
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from ems_streams.domain.alarm_conditions import Condition, DurationS, RulePart
from ems_streams.domain.channel_config import SEVERITY_ORDER
from ems_streams.domain.events import PositiveId, SerialNumber, Severity, decode
from ems_streams.domain.maintenance import DeviceType
from ems_streams.errors import MalformedError

SCOPE_MAX: Final = 1000
"""Types, sites or devices in the scope of one rule."""
PLACEHOLDERS: Final = ("ruleId", "title", "severity", "serialNumber", "siteId", "deviceType", "metric", "value", "limit", "forS")
"""What a message may name in braces."""

_ID: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_BRACES: Final = re.compile(r"\{([^{}]*)\}")

RuleId = Annotated[str, StringConstraints(pattern=_ID, max_length=64)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
Message = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class Scope(RulePart):
    """Whom a rule concerns: a device that matches each of what is given; nothing given is every device."""

    device_types: Annotated[tuple[DeviceType, ...], Field(min_length=1, max_length=SCOPE_MAX)] | None = None
    site_ids: Annotated[tuple[PositiveId, ...], Field(min_length=1, max_length=SCOPE_MAX)] | None = None
    serial_numbers: Annotated[tuple[SerialNumber, ...], Field(min_length=1, max_length=SCOPE_MAX)] | None = None

    def covers(self, device_type: str | None, site_id: int, serial_number: str) -> bool:
        """Whether a device is concerned."""
        return (
            (self.device_types is None or device_type in self.device_types)
            and (self.site_ids is None or site_id in self.site_ids)
            and (self.serial_numbers is None or serial_number in self.serial_numbers)
        )


class Escalation(RulePart):
    """What an alarm becomes that has stood for a time.

    Attributes:
        after_s: Event time since it was raised.
        severity: Higher than that of the rule.
    """

    after_s: DurationS
    severity: Severity


class AlarmRule(RulePart):
    """A rule.

    Attributes:
        id: Unique; small letters, digits and hyphens.
        title: What people are told, in a few words.
        description: For those who read or change the rule.
        message: Text of the notification with names of `PLACEHOLDERS` in braces; None is a text made from the condition.
        enabled: Whether the rule is applied.
    """

    id: RuleId
    title: Title
    description: Text | None = None
    severity: Severity
    enabled: Annotated[bool, Field(strict=True)] = True
    scope: Scope = Scope()
    condition: Condition
    message: Message | None = None
    escalate: Escalation | None = None

    @field_validator("message")
    @classmethod
    def _known_placeholders(cls, message: str | None) -> str | None:
        for name in _BRACES.findall(message or ""):
            if name not in PLACEHOLDERS:
                near = get_close_matches(name, PLACEHOLDERS, 1)
                hint = f"; did you mean {{{near[0]}}}?" if near else ""
                raise ValueError(f"{{{name}}} is no placeholder: expected some of {', '.join(PLACEHOLDERS)}{hint}")
        if set(_BRACES.sub("", message or "")) & {"{", "}"}:
            raise ValueError("a brace without the other one: expected placeholders such as {value}")
        return message

    @field_validator("escalate")
    @classmethod
    def _upwards(cls, escalate: Escalation | None, info: ValidationInfo) -> Escalation | None:
        own = info.data.get("severity")
        if escalate is not None and own is not None and SEVERITY_ORDER.index(escalate.severity) <= SEVERITY_ORDER.index(own):
            raise ValueError(f"severity {escalate.severity} is not above that of the rule, {own}: expected a higher one")
        return escalate

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.id.encode()

    def encode(self) -> bytes:
        """JSON value of the record, without what is absent."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)

    def message_for(self, facts: dict[str, Any]) -> str | None:
        """The message with facts put in for placeholders, None when the rule has none; numbers with at most six digits."""
        return None if self.message is None else _BRACES.sub(lambda found: _shown(facts.get(found[1])), self.message)


def decode_rule(key: bytes | None, value: bytes) -> AlarmRule:
    """The rule of a record; raises `MalformedError`, also when the key is not that of the rule."""
    rule = decode(AlarmRule, value)
    if key != rule.key:
        raise MalformedError("key_mismatch", f"id={rule.id!r}: the key of the record is {key!r}, expected the id of the rule")
    return rule


def rule_view(rule: AlarmRule) -> dict[str, Any]:
    """The rule as JSON for people and programs, without what is absent."""
    return rule.model_dump(mode="json", by_alias=True, exclude_none=True)


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

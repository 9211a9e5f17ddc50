"""All alarm rules that a partition knows, and fast which of them concern a device."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.state_codec import StateCodecError

PROFILES_MAX: Final = 100_000
"""Pairs of type and site that are remembered before they are looked up again."""

_Profile = tuple[str | None, int]


@dataclass(slots=True)
class RuleSet:
    """Rules by id. Rules that are not enabled are kept, and concern nobody.

    Attributes:
        by_id: Every rule.
        version: Rises with each change; who keeps answers compares it.
    """

    by_id: dict[str, AlarmRule] = field(default_factory=dict)
    version: int = 0
    _by_serial: dict[str, tuple[AlarmRule, ...]] | None = None
    _general: tuple[AlarmRule, ...] = ()
    _by_profile: dict[_Profile, tuple[AlarmRule, ...]] = field(default_factory=dict)

    def put(self, rule: AlarmRule) -> bool:
        """Take a rule in, in place of that of its id; whether anything changed."""
        if self.by_id.get(rule.id) == rule:
            return False
        self.by_id[rule.id] = rule
        self._changed()
        return True

    def remove(self, rule_id: str) -> AlarmRule | None:
        """Forget a rule; gives what it was."""
        removed = self.by_id.pop(rule_id, None)
        if removed is not None:
            self._changed()
        return removed

    def concerning(self, device_type: str | None, site_id: int, serial_number: str) -> tuple[AlarmRule, ...]:
        """Enabled rules whose scope covers a device, in the order of their ids; the same tuple as long as no rule changes."""
        by_serial = self._by_serial if self._by_serial is not None else self._indexed()
        profile = (device_type, site_id)
        rules = self._by_profile.get(profile)
        if rules is None:
            if len(self._by_profile) >= PROFILES_MAX:
                self._by_profile.clear()
            rules = tuple(rule for rule in self._general if rule.scope.covers(device_type, site_id, serial_number))
            self._by_profile[profile] = rules
        named = by_serial.get(serial_number)
        if named is None:
            return rules
        own = [rule for rule in named if rule.scope.covers(device_type, site_id, serial_number)]
        return tuple(sorted((*rules, *own), key=lambda rule: rule.id)) if own else rules

    def encode(self) -> bytes:
        """As a JSON list of rules, in the order of their ids."""
        return b"[" + b",".join(self.by_id[rule_id].encode() for rule_id in sorted(self.by_id)) + b"]"

    def _changed(self) -> None:
        self.version += 1
        self._by_serial = None
        self._by_profile.clear()

    def _indexed(self) -> Mapping[str, tuple[AlarmRule, ...]]:
        """Rules that name devices are found by these, so that each type and site needs to be looked at once only."""
        enabled = [self.by_id[rule_id] for rule_id in sorted(self.by_id) if self.by_id[rule_id].enabled]
        self._general = tuple(rule for rule in enabled if rule.scope.serial_numbers is None)
        by_serial: dict[str, list[AlarmRule]] = {}
        for rule in enabled:
            for serial_number in dict.fromkeys(rule.scope.serial_numbers or ()):
                by_serial.setdefault(serial_number, []).append(rule)
        self._by_serial = {serial_number: tuple(rules) for serial_number, rules in by_serial.items()}
        return self._by_serial


def rule_set_of(rules: Iterable[AlarmRule]) -> RuleSet:
    """A set of some rules; of several with one id the last counts."""
    found = RuleSet()
    for rule in rules:
        found.put(rule)
    return found


def decode_rule_set(data: bytes) -> RuleSet:
    """Of what `encode` gives; raises `StateCodecError`."""
    try:
        return rule_set_of(AlarmRule.model_validate(each) for each in orjson.loads(data))
    except (ValueError, TypeError) as error:
        raise StateCodecError("alarm rules", str(error)) from None

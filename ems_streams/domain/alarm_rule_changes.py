"""What applying rules would change, rule by rule and member by member."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ems_streams.domain.alarm_rules import AlarmRule, rule_view


class Change(NamedTuple):
    """A member that differs; None is absent.

    Attributes:
        place: Such as `condition.above`.
    """

    place: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """What would be done.

    Attributes:
        added: Rules whose ids are new.
        changed: Rules that differ from those of their ids, with how.
        removed: Ids of rules that go.
        unchanged: Ids of rules that stay as they are.
    """

    added: tuple[AlarmRule, ...]
    changed: tuple[tuple[AlarmRule, tuple[Change, ...]], ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def put(self) -> tuple[AlarmRule, ...]:
        """Rules to be written."""
        return (*self.added, *(rule for rule, _ in self.changed))

    @property
    def nothing(self) -> bool:
        """Whether all is as wanted already."""
        return not (self.added or self.changed or self.removed)


def changes_to(current: Mapping[str, AlarmRule | None], wanted: Iterable[AlarmRule], *, prune: bool) -> RuleChanges:
    """What makes of the rules that are there those that are wanted.

    Args:
        current: By id; None is something that is no rule, and is replaced or removed as one.
        wanted: Each id once.
        prune: Whether rules that are not wanted are removed.
    """
    added, changed, unchanged = [], [], []
    names = set()
    for rule in wanted:
        names.add(rule.id)
        before = current.get(rule.id)
        if before is None:
            added.append(rule)
        elif before == rule:
            unchanged.append(rule.id)
        else:
            changed.append((rule, tuple(_differences(rule_view(before), rule_view(rule)))))
    removed = tuple(sorted(current.keys() - names)) if prune else ()
    return RuleChanges(tuple(added), tuple(changed), removed, tuple(unchanged))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], within: str = "") -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        old, new, place = before.get(name), after.get(name), f"{within}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{place}.")
        elif old != new:
            yield Change(place, old, new)

"""Bringing the topic `alarm-rules` to what a file says."""

from collections.abc import Sequence

from ems_streams.domain.alarm_rule_changes import RuleChanges, changes_to
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.errors import EmsError
from ems_streams.kafka.alarm_rules import stored_rules, write_rules
from ems_streams.rules.builtin import builtin_rules
from ems_streams.settings import Settings


class NoSuchRuleError(EmsError):
    """There is no alarm rule of that id."""


async def apply_rules(settings: Settings, rules: Sequence[AlarmRule], *, prune: bool, by: str, dry_run: bool = False) -> RuleChanges:
    """Make the rules known to all partitions, all or none, and say what that changes; raises `EmsError`.

    Args:
        rules: Each id once; those that are there already as they are, are not written again.
        prune: Remove all others.
        by: Who does it.
        dry_run: Change nothing.
    """
    stored = await stored_rules(settings)
    changes = changes_to(stored.current, rules, prune=prune)
    if not changes.nothing and not dry_run:
        await write_rules(settings, stored.partitions, changes.put, changes.removed, by)
    return changes


async def remove_rules(settings: Settings, rule_ids: Sequence[str] | None, *, by: str) -> list[str]:
    """Remove rules, all of them for None; gives the ids. Raises `NoSuchRuleError`, and then nothing is removed."""
    stored = await stored_rules(settings)
    wanted = sorted(stored.current) if rule_ids is None else list(dict.fromkeys(rule_ids))
    for rule_id in wanted:
        if rule_id not in stored.current:
            raise NoSuchRuleError(f"there is no alarm rule {rule_id!r}; `ems-streams rules list` shows those that there are")
    if wanted:
        await write_rules(settings, stored.partitions, (), wanted, by)
    return wanted


async def apply_builtin_once(settings: Settings, *, by: str) -> int:
    """Apply the built-in rules to a topic that nobody has ever written to; gives how many. Raises `EmsError`.

    Whoever removed or replaced rules has decided, and does not find them again at the next start.
    """
    stored = await stored_rules(settings)
    if stored.ever_written:
        return 0
    rules = builtin_rules()
    await write_rules(settings, stored.partitions, rules, (), by)
    return len(rules)

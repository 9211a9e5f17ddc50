"""The values around alarms of a trial, to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ems_streams.domain.alarm_conditions import Threshold
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_trial import TrialResult
from ems_streams.domain.alarms import Alarm
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.rules.trial import FileSource, Told, TopicSource

_MARGIN_MS = 60_000


@dataclass(slots=True)
class Signal:
    """What a metric was around an alarm.

    Attributes:
        alarm: The alarm.
        metric: The metric.
        limits: Lines to be drawn, each with its name.
        from_ms: Values from then on.
        to_ms: Until then.
        times_ms: Of the values, rising.
        values: As many.
    """

    alarm: Alarm
    metric: str
    limits: list[tuple[str, float]]
    from_ms: int
    to_ms: int
    times_ms: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    @property
    def marks(self) -> list[tuple[str, int]]:
        """When it was raised and cleared."""
        cleared = [] if self.alarm.cleared_at is None else [("C", to_epoch_ms(self.alarm.cleared_at))]
        return [("R", to_epoch_ms(self.alarm.raised_at)), *cleared]

    @property
    def stood_ms(self) -> tuple[int, int]:
        """From when to when it stood."""
        return to_epoch_ms(self.alarm.raised_at), self.to_ms if self.alarm.cleared_at is None else to_epoch_ms(self.alarm.cleared_at)

    def take(self, told: Told) -> None:
        """Keep a value if it belongs here; one that is older than the last is left out."""
        record = told.record
        if record.serial_number != self.alarm.serial_number or not self.from_ms <= record.timestamp_ms <= self.to_ms:
            return
        value = record.metrics.get(self.metric)
        if value is not None and (not self.times_ms or record.timestamp_ms > self.times_ms[-1]):
            self.times_ms.append(record.timestamp_ms)
            self.values.append(value)


def signals_of(result: TrialResult, count: int) -> list[Signal]:
    """Empty signals of the first alarms that are about a metric, one of each rule before a second one of any."""
    rules = {each.rule.id: each.rule for each in result.by_rule}
    about = [alarm for alarm in result.alarms if alarm.metric is not None]
    seen: dict[str, int] = {}
    ranked = []
    for place, alarm in enumerate(about):
        seen[alarm.rule_id] = seen.get(alarm.rule_id, -1) + 1
        ranked.append((seen[alarm.rule_id], place))
    chosen = sorted(place for _, place in sorted(ranked)[:count])
    return [_signal(about[place], rules[about[place].rule_id], result.to_ms) for place in chosen]


def fill_from_file(signals: Sequence[Signal], source: FileSource) -> None:
    """Read the file once more."""
    for told in source.told(lambda _done, _total: None):
        for signal in signals:
            signal.take(told)


async def fill_from_topic(signals: Sequence[Signal], source: TopicSource) -> None:
    """Read the topic once more."""
    async for told in source.told(lambda _done, _total: None):
        for signal in signals:
            signal.take(told)


def _signal(alarm: Alarm, rule: AlarmRule, to_ms: int) -> Signal:
    began_ms = to_epoch_ms(alarm.began_at)
    over_ms = to_ms if alarm.cleared_at is None else to_epoch_ms(alarm.cleared_at)
    margin_ms = max(_MARGIN_MS, (over_ms - began_ms) // 2)
    limits = []
    if isinstance(rule.condition, Threshold):
        each = rule.condition.limits
        limits = [("limit", each.raise_at)] if each.clear_at == each.raise_at else [("clear", each.clear_at), ("limit", each.raise_at)]
    assert alarm.metric is not None
    return Signal(alarm, alarm.metric, limits, began_ms - margin_ms, over_ms + margin_ms)

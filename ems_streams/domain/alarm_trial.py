"""What rules would have raised on telemetry of the past: the very folds that workers go by, over records from wherever they come.

Time is that of the records. It goes on for each device by its own messages, and in the end to when the data ends: so missing data are found where a device
pauses, and it is taken for granted that somebody listened all the time. Nobody acknowledges anything, so what is to escalate does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ems_streams.domain.alarm_folds import Arrival, Clear, Raise, Step, due_ms, is_news, observe, observe_window, tick
from ems_streams.domain.alarm_memory import DeviceMemory
from ems_streams.domain.alarm_plan import Plans
from ems_streams.domain.alarm_raising import raised
from ems_streams.domain.alarm_rule_set import rule_set_of
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_table import AlarmInput
from ems_streams.domain.alarm_trial_windows import Closed, TrialWindows
from ems_streams.domain.alarm_words import CLEARING_CAUSES, over_in_words
from ems_streams.domain.alarms import Alarm, AlarmEvidence, cleared, escalated, new_alarm_id
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.domain.windows import WindowPolicy

LISTENED_ALWAYS_MS: Final = 0


@dataclass(slots=True)
class RuleTrial:
    """What became of one rule.

    Attributes:
        rule: The rule.
        devices: Devices that it concerns.
        devices_with_metric: Those of them that ever sent what it looks at.
        alarms: That it raised.
        escalated: Of which so many became more severe.
        open: Of which so many were not over at the end of the data.
        alarmed_devices: At so many devices.
        raised_s: Seconds for which they stood, all together.
        longest_s: Seconds for which the longest one stood.
    """

    rule: AlarmRule
    devices: int = 0
    devices_with_metric: int = 0
    alarms: int = 0
    escalated: int = 0
    open: int = 0
    alarmed_devices: int = 0
    raised_s: float = 0.0
    longest_s: float = 0.0


@dataclass(slots=True)
class TrialResult:
    """What rules would have raised.

    Attributes:
        alarms: By the time when they were raised.
        by_rule: Every rule, also those that are not enabled.
        messages: Records that were looked at.
        devices: Devices that they came from.
        from_ms: Time of the earliest record; None without any.
        to_ms: When the data ends.
    """

    alarms: list[Alarm]
    by_rule: list[RuleTrial]
    messages: int
    devices: int
    from_ms: int | None
    to_ms: int


@dataclass(slots=True)
class _Device:
    memory: DeviceMemory
    partition: int
    arrived_ms: int
    metrics: set[str] = field(default_factory=set)
    windows: TrialWindows | None = None


class Trial:
    """Rules on their way through telemetry.

    Args:
        rules: Each id once.
        policy: When windows close.
        topic: Where the records are from, for the evidence.
    """

    def __init__(self, rules: Iterable[AlarmRule], policy: WindowPolicy, topic: str) -> None:
        self._rules = rule_set_of(rules)
        self._plans = Plans(self._rules)
        self._policy = policy
        self._topic = topic
        self._devices: dict[str, _Device] = {}
        self._alarms: dict[str, Alarm] = {}
        self._messages = 0
        self._from_ms: int | None = None

    def take(self, record: TelemetryRecord, arrived_ms: int | None, partition: int, offset: int) -> None:
        """Take a record in.

        Args:
            record: Those of a device in the order in which they arrived.
            arrived_ms: When it arrived; None for when it was measured.
            partition: Where it is from.
            offset: Its place there.
        """
        self._messages += 1
        device = self._devices.get(record.serial_number)
        arrived_ms = record.timestamp_ms if arrived_ms is None else arrived_ms
        at_ms = min(arrived_ms, record.timestamp_ms)
        self._from_ms = at_ms if self._from_ms is None else min(self._from_ms, at_ms)
        if device is None:
            memory = DeviceMemory(record.serial_number, record.device_id, record.site_id, record.device_type)
            device = self._devices[record.serial_number] = _Device(memory, partition, arrived_ms)
        else:
            self._let_time_go_on(device, arrived_ms - 1)
        device.arrived_ms = max(device.arrived_ms, arrived_ms)
        if not self._is_at_home(device, record, at_ms, arrived_ms):
            return
        device.metrics.update(record.metrics)
        memory = device.memory
        plan = memory.plan_by(self._plans)
        self._follow(device, observe(memory, plan, record.metrics, Arrival(at_ms, arrived_ms, offset)))
        if plan.windows:
            device.windows = device.windows or TrialWindows(record.serial_number, self._policy)
            self._look_at_windows(device, device.windows.take(record, arrived_ms, offset))

    def finish(self, until_ms: int | None = None) -> TrialResult:
        """Let time go on to the end of the data, or to `until_ms`, and say what came of it. Windows that it ends in are closed with what they have."""
        arrivals = [device.arrived_ms for device in self._devices.values()]
        to_ms = max(arrivals, default=0) if until_ms is None else until_ms
        for device in self._devices.values():
            self._let_time_go_on(device, to_ms)
            if device.windows is not None:
                self._look_at_windows(device, device.windows.close())
        alarms = sorted(self._alarms.values(), key=lambda each: (each.raised_at, each.serial_number, each.rule_id))
        by_rule = [self._judged(rule, alarms, to_ms) for rule in self._rules.by_id.values()]
        return TrialResult(alarms, by_rule, self._messages, len(self._devices), self._from_ms, to_ms)

    def _is_at_home(self, device: _Device, record: TelemetryRecord, at_ms: int, arrived_ms: int) -> bool:
        """Whether a record counts: what comes late from the place where a device was does not. One from another place ends what was of the old one."""
        memory = device.memory
        if (memory.site_id, memory.device_type) == (record.site_id, record.device_type):
            return True
        if not is_news(memory, at_ms, arrived_ms):
            return False
        for held in memory.rules.values():
            if held.alarm_id:
                because = CLEARING_CAUSES[AlarmInput.DEVICE_MOVED]
                self._put(cleared(self._alarms[held.alarm_id], AlarmInput.DEVICE_MOVED, because, from_epoch_ms(at_ms)))
        memory.rules.clear()
        memory.samples.clear()
        memory.device_id, memory.site_id, memory.device_type = record.device_id, record.site_id, record.device_type
        memory.plans = None
        return True

    def _let_time_go_on(self, device: _Device, now_ms: int) -> None:
        if device.windows is not None:
            self._look_at_windows(device, device.windows.let_time_go_on(now_ms))
        memory = device.memory
        plan = memory.plan_by(self._plans)
        # An alarm of missing data may have to escalate within the same stretch.
        while due_ms(memory, plan, LISTENED_ALWAYS_MS) <= now_ms:
            self._follow(device, tick(memory, plan, LISTENED_ALWAYS_MS, now_ms))

    def _look_at_windows(self, device: _Device, closed: Closed) -> None:
        for arrival, window in closed:
            memory = device.memory
            if (window.site_id, window.device_type) == (memory.site_id, memory.device_type):
                self._follow(device, observe_window(memory, memory.plan_by(self._plans), window, arrival))

    def _follow(self, device: _Device, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Raise):
                self._raise(device, step)
            elif isinstance(step, Clear):
                because = over_in_words(self._rules.by_id.get(step.rule_id), step.value)
                alarm = self._alarms[step.alarm_id]
                self._put(cleared(alarm, AlarmInput.CONDITION_OVER, because, from_epoch_ms(step.at_ms), value=step.value))
            else:
                self._put(escalated(self._alarms[step.alarm_id]))

    def _raise(self, device: _Device, step: Raise) -> None:
        evidence = AlarmEvidence(topic=self._topic, partition=device.partition, offset=step.held.offset)
        new_id = new_alarm_id(device.memory.serial_number, step.check.rule_id, evidence, self._alarms)
        self._put(raised(device.memory, step, evidence, new_id))

    def _put(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            self._alarms[alarm.alarm_id] = alarm

    def _judged(self, rule: AlarmRule, alarms: Iterable[Alarm], to_ms: int) -> RuleTrial:
        judged = RuleTrial(rule)
        for device in self._concerned(rule):
            judged.devices += 1
            judged.devices_with_metric += rule.condition.metric is None or rule.condition.metric in device.metrics
        own = [alarm for alarm in alarms if alarm.rule_id == rule.id]
        lasted_s = [duration_s(alarm, to_ms) for alarm in own]
        judged.alarms = len(own)
        judged.escalated = sum(alarm.escalated_at is not None for alarm in own)
        judged.open = sum(alarm.active for alarm in own)
        judged.alarmed_devices = len({alarm.serial_number for alarm in own})
        judged.raised_s, judged.longest_s = sum(lasted_s), max(lasted_s, default=0.0)
        return judged

    def _concerned(self, rule: AlarmRule) -> Iterator[_Device]:
        for device in self._devices.values():
            memory = device.memory
            if rule.enabled and rule.scope.covers(memory.device_type, memory.site_id, memory.serial_number):
                yield device


def duration_s(alarm: Alarm, to_ms: int) -> float:
    """How long an alarm stood, in seconds; until the end of the data when it is not over."""
    end = from_epoch_ms(to_ms) if alarm.cleared_at is None else alarm.cleared_at
    return max(0.0, (end - alarm.raised_at).total_seconds())

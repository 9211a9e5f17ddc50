"""What is remembered of a device for its alarm rules, and the stored form of it."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from ems_streams.domain.alarm_plan import NOTHING, Plan, Plans
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.state_codec import StateCodecError, check_version

VERSION: Final = 1
_KIND: Final = "alarm memory"


class RuleMemory(msgspec.Struct, array_like=True):
    """Of one rule at one device, while its condition holds or its alarm is there.

    Attributes:
        fingerprint: Of the rule (`alarm_plan.fingerprint`).
        since_ms: Since when the condition holds.
        offset: Of the record that it began with, on the topic that the rule looks at.
        alarm_id: Of the alarm; empty while the condition does not hold for long enough yet.
        clearing_since_ms: Of the alarm: since when the value is good.
        escalates_ms: Of the alarm: when its severity goes up; `NEVER_MS` when it does not.
    """

    fingerprint: str
    since_ms: int
    offset: int
    alarm_id: str = ""
    clearing_since_ms: int | None = None
    escalates_ms: int = NEVER_MS


class Heard(msgspec.Struct, array_like=True):
    """When a metric arrived last, by the clock of the ingress, and with which record."""

    arrived_ms: int
    offset: int


@dataclass(slots=True)
class DeviceMemory:
    """Of one device; mutable, and only the folds of alarms may change it.

    Attributes:
        serial_number: Key of the device.
        device_id: As of its newest message, like `site_id` and `device_type`.
        newest_ms: Greatest time of a message.
        heard_ms: When a message last arrived, by the clock of the ingress.
        heard_offset: Of the last message.
        newest: By metric, the time of the newest value that was looked at.
        rules: By id, those that have something to remember.
        heard: By metric, for rules that miss it.
        samples: By fingerprint of a rule, values with their times that its rate is taken over, oldest first.
        windows: By kind of window, start and revision of the newest one that was looked at.
        plan: What has to be looked at; in memory only, and only as long as `plans` is what plans are made by.
    """

    serial_number: str
    device_id: int
    site_id: int
    device_type: str
    newest_ms: int = -1
    heard_ms: int = 0
    heard_offset: int = -1
    newest: dict[str, int] = field(default_factory=dict)
    rules: dict[str, RuleMemory] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    samples: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)
    plan: Plan = field(default_factory=lambda: NOTHING, compare=False, repr=False)
    plans: Plans | None = field(default=None, compare=False, repr=False)

    def plan_by(self, plans: Plans) -> Plan:
        """What has to be looked at. By other rules than before, what those had to remember is forgotten, but for their alarms.

        A metric that a rule misses and that was never heard of counts as heard with the last message.
        """
        if self.plans is not plans:
            self.plans, self.plan = plans, plans.of(self.device_type, self.site_id, self.serial_number)
            self._fit(self.plan)
        return self.plan

    def _fit(self, plan: Plan) -> None:
        prints = plan.fingerprints
        self.rules = {rule_id: each for rule_id, each in self.rules.items() if each.alarm_id or prints.get(rule_id) == each.fingerprint}
        alive = set(prints.values())
        self.samples = {print_: each for print_, each in self.samples.items() if print_ in alive}
        watched = {each.name for each in plan.metrics}
        self.newest = {name: at_ms for name, at_ms in self.newest.items() if name in watched}
        known = {name: each for name, each in self.heard.items() if name in plan.missing_metrics}
        if self.heard_ms:
            unknown = sorted(plan.missing_metrics - known.keys())
            known |= {name: Heard(self.heard_ms, self.heard_offset) for name in unknown}
        self.heard = known
        self.windows = {window: each for window, each in self.windows.items() if window in plan.windows}


_Stored = tuple[
    str,
    int,
    int,
    str,
    int,
    int,
    int,
    dict[str, int],
    dict[str, RuleMemory],
    dict[str, Heard],
    dict[str, list[tuple[int, float]]],
    dict[str, tuple[int, int]],
]
_encode = msgspec.msgpack.Encoder().encode_into
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode(memory: DeviceMemory) -> bytes:
    """As bytes: a version byte, then a MessagePack list."""
    stored = (
        memory.serial_number,
        memory.device_id,
        memory.site_id,
        memory.device_type,
        memory.newest_ms,
        memory.heard_ms,
        memory.heard_offset,
        memory.newest,
        memory.rules,
        memory.heard,
        memory.samples,
        memory.windows,
    )
    buffer = bytearray((VERSION,))
    _encode(stored, buffer, 1)
    return bytes(buffer)


def decode(data: bytes) -> DeviceMemory:
    """Of what `encode` gives; raises `StateCodecError`."""
    check_version(_KIND, data, VERSION)
    try:
        return DeviceMemory(*_decoder.decode(data[1:]))
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise StateCodecError(_KIND, str(error)) from None

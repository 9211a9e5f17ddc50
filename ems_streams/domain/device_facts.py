"""What a worker knows of a device, and how far it has read: the facts that explain its state; on the wire between a worker and who asks it."""

from typing import Literal

from pydantic import Field

from ems_streams.domain.events import DeviceStatus, Event, Severity, Time

RuleStanding = Literal["QUIET", "PENDING", "WAITING", "RAISED", "ACKNOWLEDGED", "CLEARING"]
"""Of an alarm rule at a device.

`QUIET`: nothing is wrong. `PENDING`: its condition holds, not for long enough yet. `WAITING`: data may become missing, which only time tells. `RAISED` and
`ACKNOWLEDGED`: its alarm stands. `CLEARING`: the alarm stands, the value is good, not for long enough yet.
"""


class Place(Event):
    """Of a record."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class StatusFacts(Event):
    """The status of a device, and what it rests on.

    Attributes:
        cause: Of the status machine's inputs, such as `SILENCE`.
        since: Time of what caused it, by the device's clock; of silence, when the timeout was over.
        evidence: The record that caused it; of silence the last record of the device.
        last_seen: Greatest time that the device itself has named.
        heard_at: When something of it last arrived, by the clock of the ingress; None of a state that does not know it.
        heard: The last record of it.
        last_report: What it last said of itself, at `last_report_at`; None when it never did.
    """

    status: DeviceStatus
    previous_status: DeviceStatus
    since: Time
    reason: str
    cause: str
    error_code: str | None = None
    sequence: int
    evidence: Place | None = None
    last_seen: Time
    heard_at: Time | None = None
    heard: Place | None = None
    last_report: DeviceStatus | None = None
    last_report_at: Time | None = None


class SilenceFacts(Event):
    """What is counted towards the silence of a device.

    Attributes:
        timeout_s: How long it has to be silent; 0 for never.
        decided_by: `registry` for `limits.silenceTimeoutS` of the device, `type` for its type in `EMS_SILENCE_TIMEOUTS`, else `default`.
        listening_since: Since when somebody has listened without a break; silence before it counts for nothing.
        listened_until: By the last heartbeat. When that is long ago, ingress is away, and no silence is counted.
        due_at: When it will be silent if nothing more arrives, and somebody goes on listening; None when silence means nothing for its status.
    """

    timeout_s: float
    decided_by: Literal["registry", "type", "default"]
    listening_since: Time | None = None
    listened_until: Time | None = None
    due_at: Time | None = None


class FlappingFacts(Event):
    """How often its status has changed lately, and what people know of that.

    Attributes:
        score: As of now: each change counts 1, and half of that after `half_life_s`.
        threshold: Score from which on it is flapping; 0 for never.
        reuse: Score at which it is no more.
        since: Since when it is flapping; None while it is not.
        changes: While it is flapping: since it began.
        still_at: While it is flapping: when it will not be any more, if its status stays as it is.
        told_status: What people were told last.
        held_back_by: Maintenance window for which people were not told of its last change yet.
    """

    score: float
    threshold: float
    reuse: float
    half_life_s: float
    since: Time | None = None
    changes: int = 0
    still_at: Time | None = None
    told_status: DeviceStatus
    held_back_by: str | None = None


class MaintenanceFacts(Event):
    """A maintenance window that the device is in, or will be."""

    window_id: str
    starts_at: Time
    ends_at: Time
    reason: str
    created_by: str
    active: bool


class MessageFacts(Event):
    """What became of its telemetry, counted since the device is known.

    Attributes:
        duplicates: Dropped as known before. Those without a message id are counted when their minute closes.
        late: Beyond the correction horizon: in the total, in no window.
        future: More than an hour ahead of their arrival: the same.
        left_out_values: Of metrics beyond the greatest number for a device.
        newest_at: Greatest time that was not too far ahead.
        watermark_at: Up to where time has gone on for its windows.
        late_before: What is older than this is late now.
        remembered_ids: Of how many messages with ids the ids are remembered.
    """

    duplicates: int
    late: int
    future: int
    left_out_values: int
    newest_at: Time | None = None
    watermark_at: Time | None = None
    late_before: Time | None = None
    remembered_ids: int


class RuleFacts(Event):
    """An alarm rule that concerns the device, and how it stands.

    Attributes:
        condition: In words.
        value: Of its metric, the last one known; of an alarm the value that raised it; None where there is none.
        limit: That it is compared with (rates: per second; missing data: seconds).
        since: Since when the condition holds; while it clears, since when the value is good.
        evidence: The record that it began with.
        due_at: When it would be raised, or cleared, if nothing changes; event time for values, time of the ingress for missing data.
        why: How it stands, and why not otherwise, in words.
    """

    rule_id: str
    title: str
    severity: Severity
    kind: str
    metric: str | None = None
    condition: str
    standing: RuleStanding
    value: float | None = None
    limit: float | None = None
    since: Time | None = None
    evidence: Place | None = None
    due_at: Time | None = None
    alarm_id: str | None = None
    escalates_at: Time | None = None
    why: str


class DeviceFacts(Event):
    """All that a worker knows of a device.

    Attributes:
        worker: Its address.
        as_of: When this was said.
        partition: Of the device.
        folded: By `agent/topic`, the last offset that the agent has taken in.
        status: None for a device that was never heard of; then most of the rest is None, too.
        rules: None while the partition of the alarms is not ready.
        commands_open: Commands that are not done with.
    """

    serial_number: str
    worker: str
    as_of: Time
    partition: int
    folded: dict[str, int]
    device_id: int | None = None
    site_id: int | None = None
    device_type: str | None = None
    status: StatusFacts | None = None
    silence: SilenceFacts | None = None
    flapping: FlappingFacts | None = None
    maintenance: tuple[MaintenanceFacts, ...] = ()
    messages: MessageFacts | None = None
    latest: dict[str, float] = Field(default_factory=dict)
    latest_at: Time | None = None
    rules: tuple[RuleFacts, ...] | None = None
    commands_open: int = 0

"""Why a device is in the state that it is in: the answer of `explain`, as JSON for programs; its narrative is for people."""

from typing import Literal

from ems_streams.domain.device_facts import (
    DeviceFacts,
    Place,
)
from ems_streams.domain.events import Event, Time
from ems_streams.domain.registry import RegistryEntry

Part = Literal["worker", "kafka", "registry", "topic"]
Dropped = Literal["duplicate", "late", "malformed"]


class TimelineEntry(Event):
    """A record of the device, in words.

    Attributes:
        at: Kafka's time of it: when it arrived, of what a device sent.
        event_at: Time that the record itself names, where that is another one.
        what: Its kind, such as `telemetry`.
        said: What it says.
        message_id: The sender's own id, of telemetry that has one.
        dropped: Why it changed nothing; None for what was taken in.
        because: Of what was dropped, in words.
        origin: Of what was dropped or put aside: the record, or the MQTT topic, that it was.
        folded: Whether the worker has taken it in; None where that is not known.
    """

    at: Time
    event_at: Time | None = None
    place: Place
    what: str
    said: str
    message_id: str | None = None
    dropped: Dropped | None = None
    because: str | None = None
    origin: str | None = None
    folded: bool | None = None


class Missing(Event):
    """A fact that could not be had.

    Attributes:
        part: What would have it.
        fact: What is missing for that.
        why: In words.
    """

    part: Part
    fact: str
    why: str


class TopicRead(Event):
    """How far back the device's partition of a topic was looked through.

    Attributes:
        back_to: Kafka's time of the oldest record that was looked at.
        complete: Whether nothing was left out that was asked for.
        ended: `LIMIT`, `SINCE`, `BEGINNING`, `COST` or `DEADLINE`.
    """

    topic: str
    partition: int
    first_offset: int
    end_offset: int
    back_to: Time | None = None
    complete: bool
    ended: str


class DroppedSummary(Event):
    """What of the device's messages changed nothing.

    Attributes:
        duplicates_counted: By the worker, since the device is known; None while it does not answer.
        duplicates_seen: Records in the part of the topic that was looked through.
        duplicate_message_ids: Of those, where the device gave them.
        late_counted: As for duplicates.
        late_seen: Records on the topic of late telemetry that were looked through.
        dead_letters_seen: Records on topics of dead letters that were looked through.
    """

    duplicates_counted: int | None = None
    duplicates_seen: tuple[Place, ...] = ()
    duplicate_message_ids: tuple[str, ...] = ()
    late_counted: int | None = None
    late_seen: tuple[Place, ...] = ()
    dead_letters_seen: tuple[Place, ...] = ()


class Explanation(Event):
    """Of one device.

    Attributes:
        status: `UNKNOWN` for a device that was never heard of, None while no worker answers.
        narrative: For people: first why it is in this state, then what else matters.
        next_changes: What would change its state.
        partition: Of the device; None when neither a worker nor Kafka says how many there are.
        owner: Address of the worker that has it.
        unknown_devices: What is done with devices that are not in the registry: `provision` or `reject`.
        facts: All that the worker says; None while it does not answer.
        timeline: Records of the device, oldest first.
        missing: What could not be had; nothing when the explanation is whole.
    """

    serial_number: str
    as_of: Time
    since: Time
    status: str | None
    narrative: tuple[str, ...]
    next_changes: tuple[str, ...]
    partition: int | None
    owner: str | None
    unknown_devices: str
    registered: RegistryEntry | None
    facts: DeviceFacts | None
    dropped: DroppedSummary
    timeline: tuple[TimelineEntry, ...]
    reads: tuple[TopicRead, ...]
    missing: tuple[Missing, ...]

    @property
    def known(self) -> bool:
        """Whether anything at all is known of the device."""
        return self.registered is not None or bool(self.timeline) or (self.facts is not None and self.facts.status is not None)

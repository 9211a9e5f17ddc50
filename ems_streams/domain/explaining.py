"""Putting an explanation together from what was gathered; no I/O, times are passed in."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ems_streams.domain.device_facts import DeviceFacts, Place
from ems_streams.domain.device_history import Found
from ems_streams.domain.events import DeviceStatus, format_time
from ems_streams.domain.explanation import DroppedSummary, Explanation, Missing, TimelineEntry, TopicRead
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.status_table import TRANSITIONS, StatusInput
from ems_streams.domain.story import narrative
from ems_streams.domain.timeline import Reader, mark_duplicates, site_of, timeline
from ems_streams.domain.timestamps import from_epoch_ms


class Topics(NamedTuple):
    """How the device's topics are called and read.

    Attributes:
        readers: By topic.
        put_aside: Topics of dead letters.
        late: Of telemetry that came too late.
        telemetry: Of telemetry.
    """

    readers: Mapping[str, Reader]
    put_aside: frozenset[str]
    late: str
    telemetry: str


class Gathered(NamedTuple):
    """What was asked of everybody.

    Attributes:
        partition: Of the device, as far as known.
        owner: Address of the worker that has it.
        found: Of Kafka; None while it is away.
        missing: What could not be had.
    """

    serial_number: str
    as_of: datetime
    since: datetime
    registered: RegistryEntry | None
    unknown_devices: str
    facts: DeviceFacts | None
    found: Found | None
    partition: int | None
    owner: str | None
    missing: tuple[Missing, ...]


def for_sites(found: Found, sites: frozenset[int]) -> tuple[Found, int]:
    """Only records that name one of some sites, since a device may have been elsewhere before; and how many others there are."""
    kept = tuple(record for record in found.records if site_of(record) in sites)
    return found._replace(records=kept), len(found.records) - len(kept)


def explain(gathered: Gathered, topics: Topics) -> Explanation:
    """The explanation of what was gathered."""
    facts, found = gathered.facts, gathered.found
    records = found.records if found is not None else ()
    entries = timeline(records, topics.readers, topics.put_aside, topics.late, _folded(facts))
    entries = mark_duplicates(entries, records, topics.telemetry)
    dropped = _dropped(entries, facts)
    missing = (*gathered.missing, *_not_read(found))
    return Explanation(
        serial_number=gathered.serial_number,
        as_of=gathered.as_of,
        since=gathered.since,
        status=None if facts is None else "UNKNOWN" if facts.status is None else facts.status.status,
        narrative=narrative(
            gathered.serial_number,
            gathered.registered,
            facts,
            entries,
            dropped=dropped,
            unknown_devices=gathered.unknown_devices,
            missing=missing,
        ),
        next_changes=tuple(next_changes(facts)),
        partition=gathered.partition,
        owner=gathered.owner,
        unknown_devices=gathered.unknown_devices,
        registered=gathered.registered,
        facts=facts,
        dropped=dropped,
        timeline=entries,
        reads=_reads(found),
        missing=missing,
    )


def next_changes(facts: DeviceFacts | None) -> Iterator[str]:
    """What would change the state of a device next, those with a time first."""
    if facts is None:
        return
    timed = sorted(_timed(facts), key=lambda each: each[0])
    yield from (f"{format_time(at)}: {what}" for at, what in timed)
    status = DeviceStatus.UNKNOWN if facts.status is None else facts.status.status
    for happened in StatusInput:
        becomes = TRANSITIONS.get((status, happened))
        if becomes is not None and happened is not StatusInput.SILENCE:
            yield f"{_IN_WORDS[happened]}: {becomes}"


_IN_WORDS: Mapping[StatusInput, str] = {
    StatusInput.REPORTED_ONLINE: "a report of ONLINE that is newer than the last one",
    StatusInput.REPORTED_OFFLINE: "a report of OFFLINE that is newer than the last one, or a last will",
    StatusInput.REPORTED_MAINTENANCE: "a report of MAINTENANCE that is newer than the last one",
    StatusInput.REPORTED_ERROR: "a report of ERROR that is newer than the last one",
    StatusInput.TELEMETRY: "telemetry that is newer than what it knows",
}


def _timed(facts: DeviceFacts) -> Iterator[tuple[datetime, str]]:
    if facts.silence is not None and facts.silence.due_at is not None:
        yield facts.silence.due_at, "silent, and so OFFLINE, if nothing arrives while ingress listens"
    for rule in facts.rules or ():
        if rule.due_at is not None and rule.standing != "QUIET":
            over = rule.standing == "CLEARING"
            yield rule.due_at, f"alarm of {rule.rule_id} {'over' if over else 'raised'}, if values stay as they are"
        if rule.escalates_at is not None:
            yield rule.escalates_at, f"alarm of {rule.rule_id} escalated, if nobody acknowledges it"
    if facts.flapping is not None and facts.flapping.still_at is not None:
        yield facts.flapping.still_at, "flapping no more, if its status stays as it is"
    for window in facts.maintenance:
        at, what = (window.ends_at, "ends") if window.active else (window.starts_at, "begins")
        yield at, f"maintenance window {window.window_id} {what}"


def _folded(facts: DeviceFacts | None) -> dict[str, int]:
    """By topic, what all agents that read it have taken in."""
    found: dict[str, int] = {}
    for name, offset in ({} if facts is None else facts.folded).items():
        topic = name.partition("/")[2]
        found[topic] = min(offset, found.get(topic, offset))
    return found


def _dropped(entries: Sequence[TimelineEntry], facts: DeviceFacts | None) -> DroppedSummary:
    def places(kind: str) -> tuple[Place, ...]:
        return tuple(each.place for each in entries if each.dropped == kind)

    messages = None if facts is None else facts.messages
    ids = (each.message_id for each in entries if each.dropped == "duplicate")
    return DroppedSummary(
        duplicates_counted=None if messages is None else messages.duplicates,
        duplicates_seen=places("duplicate"),
        duplicate_message_ids=tuple(dict.fromkeys(each for each in ids if each is not None)),
        late_counted=None if messages is None else messages.late,
        late_seen=places("late"),
        dead_letters_seen=places("malformed"),
    )


def _reads(found: Found | None) -> tuple[TopicRead, ...]:
    return tuple(
        TopicRead(
            topic=each.topic,
            partition=each.partition,
            first_offset=each.first_offset,
            end_offset=each.end_offset,
            back_to=None if each.earliest_ms is None else from_epoch_ms(each.earliest_ms),
            complete=each.ended.complete,
            ended=each.ended,
        )
        for each in (() if found is None else found.reads)
    )


def _not_read(found: Found | None) -> Iterator[Missing]:
    if found is None:
        return
    for topic, why in found.unread.items():
        yield Missing(part="topic", fact=f"what {topic} says of it", why=why)
    for each in found.reads:
        if not each.ended.complete:
            back = "" if each.earliest_ms is None else f", back to {format_time(from_epoch_ms(each.earliest_ms))}"
            why = "looking further back costs too much" if each.ended == "COST" else "there was no time left"
            yield Missing(part="topic", fact=f"{each.topic}[{each.partition}] before offset {each.first_offset}{back}", why=why)

"""The story of a device: from what the worker knows and what Kafka holds to why the device is in its state, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from ems_streams.domain.device_facts import DeviceFacts, FlappingFacts, Place, RuleFacts, SilenceFacts, StatusFacts
from ems_streams.domain.events import DeviceStatus, format_time
from ems_streams.domain.explanation import DroppedSummary, Missing, TimelineEntry
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.status_table import StatusInput

WILL_IS_OLDER_BY: Final = timedelta(seconds=2)
"""A last will is made when the device connects, and arrives when its connection is lost: its time is then older than its arrival."""
LISTENING_IS_OVER_AFTER: Final = timedelta(seconds=60)
PLACES_SHOWN: Final = 5
QUIET_RULES_SHOWN: Final = 3
_WILL_WORDS: Final = ("last will", "last-will", "lwt", "testament")

Places = Mapping[tuple[str, int, int], TimelineEntry]


def narrative(
    serial_number: str,
    registered: RegistryEntry | None,
    facts: DeviceFacts | None,
    entries: Sequence[TimelineEntry],
    *,
    dropped: DroppedSummary,
    unknown_devices: str,
    missing: Sequence[Missing],
) -> tuple[str, ...]:
    """What people read, the most important first.

    Args:
        registered: Its entry of the registry.
        facts: Of the worker; None while it does not answer.
        entries: Its records.
        dropped: What changed nothing.
        unknown_devices: What is done with devices that are not registered.
        missing: What could not be had.
    """
    places = {(each.place.topic, each.place.partition, each.place.offset): each for each in entries}
    lines = [_headline(serial_number, facts, entries, places)]
    if facts is not None:
        lines += _of_worker(facts)
    lines += _behind(entries)
    lines += _registered(registered, unknown_devices, missing)
    lines += _dropped(dropped, facts)
    lines += (f"Not known: {each.fact}: {each.why}." for each in missing)
    return tuple(lines)


def _headline(serial_number: str, facts: DeviceFacts | None, entries: Sequence[TimelineEntry], places: Places) -> str:
    if facts is None:
        return _from_events(serial_number, entries)
    if facts.status is None:
        return f"{serial_number} is UNKNOWN: no telemetry and no report of it has been taken in."
    status = facts.status
    return f"{serial_number} is {status.status} since {format_time(status.since)} because {because(status, facts.silence, places)}."


def _from_events(serial_number: str, entries: Sequence[TimelineEntry]) -> str:
    transition = next((each for each in reversed(entries) if each.what == "transition"), None)
    if transition is None:
        return f"{serial_number}: no worker answers, and no transition was found, so its status is not known."
    when = format_time(transition.event_at or transition.at)
    return f"{serial_number}: no worker answers; by its last transition at {when} ({transition.place}): {transition.said}."


def because(status: StatusFacts, silence: SilenceFacts | None, places: Places) -> str:
    """Why a device has its status, with the record that it rests on."""
    place = "" if status.evidence is None else f" ({status.evidence})"
    record = None if status.evidence is None else places.get((status.evidence.topic, status.evidence.partition, status.evidence.offset))
    cause = status.cause
    if cause == StatusInput.SILENCE:
        timeout = "its timeout" if silence is None else f"{silence.timeout_s:g} s"
        return f"nothing was heard of it for {timeout} while ingress listened; the last was{place.replace('(', '').replace(')', '')}, {_heard(status)}"
    if cause == StatusInput.TELEMETRY:
        again = "its first telemetry" if status.previous_status is DeviceStatus.UNKNOWN else "telemetry"
        return (
            f"{again} arrived{place}{'' if status.previous_status is DeviceStatus.UNKNOWN else f' while it was {status.previous_status}'}"
        )
    if cause == StatusInput.REPORTED_OFFLINE:
        return f"{_offline(status, record)}{place}{_reason(status)}"
    return f"it reported {status.status}{place}{_reason(status)}"


def _heard(status: StatusFacts) -> str:
    return f"received at {format_time(status.heard_at)}" if status.heard_at else f"of about {format_time(status.last_seen)}"


def _reason(status: StatusFacts) -> str:
    return f": {status.reason}" if status.reason and not status.reason.startswith("Device reported") else ""


def _offline(status: StatusFacts, record: TimelineEntry | None) -> str:
    """Whether the device said so itself: on MQTT, a last will is a message like any other."""
    if any(word in status.reason.lower() for word in _WILL_WORDS):
        return "its last will arrived"
    if record is None:
        return "it was reported OFFLINE, by itself or by its last will"
    if record.event_at is not None and record.at - record.event_at > WILL_IS_OLDER_BY:
        older_s = (record.at - record.event_at).total_seconds()
        return f"what seems to be its last will arrived at {format_time(record.at)}, {older_s:.0f} s after it was written"
    return "it was reported OFFLINE, by itself or by a last will without words of its own"


def _of_worker(facts: DeviceFacts) -> Iterator[str]:
    if facts.silence is not None and facts.status is not None:
        yield _silence(facts.status, facts.silence, facts.as_of)
    yield from _flapping(facts.flapping)
    for window in facts.maintenance:
        when = f"until {format_time(window.ends_at)}" if window.active else f"from {format_time(window.starts_at)}"
        told = "people are not told of it" if window.active else "people will not be told of it then"
        yield f"Under maintenance {when} ({window.window_id}, by {window.created_by}): {window.reason}; {told}."
    yield from _rules(facts.rules)
    if facts.commands_open:
        yield f"{facts.commands_open} of its commands are open; `ems-streams command list {facts.serial_number}`."


def _silence(status: StatusFacts, silence: SilenceFacts, now: datetime) -> str:
    heard = f"Last heard of at {format_time(status.heard_at)}" if status.heard_at else f"Last seen at {format_time(status.last_seen)}"
    heard += f" ({status.heard})" if status.heard else ""
    if silence.timeout_s <= 0:
        return f"{heard}; its silence is never counted."
    if silence.due_at is None:
        return f"{heard}; silence changes nothing while it is {status.status}."
    by = {"registry": "registered for it", "type": "of its type", "default": "of all devices"}[silence.decided_by]
    if silence.listened_until is None or now - silence.listened_until > LISTENING_IS_OVER_AFTER:
        until = "ever" if silence.listened_until is None else f"since {format_time(silence.listened_until)}"
        return f"{heard}; no ingress has listened {until}, so no silence is counted now."
    return f"{heard}; silent, and so OFFLINE, at {format_time(silence.due_at)} if nothing comes until then (timeout of {silence.timeout_s:g} s, {by})."


def _flapping(flapping: FlappingFacts | None) -> Iterator[str]:
    if flapping is None:
        return
    if flapping.since is not None:
        yield (
            f"Flapping since {format_time(flapping.since)} with {flapping.changes} changes: single changes are not told; "
            f"still at {format_time(flapping.still_at) if flapping.still_at else '?'} if nothing changes."
        )
    elif flapping.threshold and flapping.score >= 1:
        yield f"Flapping score {flapping.score:g} of {flapping.threshold:g}."
    if flapping.held_back_by is not None:
        yield f"People were last told {flapping.told_status}; the rest is held back by maintenance window {flapping.held_back_by}."


def _rules(rules: Sequence[RuleFacts] | None) -> Iterator[str]:
    if rules is None:
        yield "Its alarms are being recovered."
        return
    for rule in rules:
        if rule.standing == "QUIET":
            continue
        evidence = f" ({rule.evidence})" if rule.evidence else ""
        yield f"Alarm rule {rule.rule_id} is {rule.standing} ({rule.severity}, {rule.condition}): {rule.why}{evidence}."
    quiet = [rule for rule in rules if rule.standing == "QUIET"]
    if quiet:
        shown = "; ".join(f"{rule.rule_id}: {rule.why}" for rule in quiet[:QUIET_RULES_SHOWN])
        more = f"; and {len(quiet) - QUIET_RULES_SHOWN} more" if len(quiet) > QUIET_RULES_SHOWN else ""
        yield f"{len(quiet)} alarm rules are quiet: {shown}{more}."


def _behind(entries: Sequence[TimelineEntry]) -> Iterator[str]:
    """What the worker has still to read, or is reading again after a recovery: its state is not of that yet."""
    waiting = [each.place for each in entries if each.folded is False]
    if waiting:
        count = f"{len(waiting)} of its records {'is' if len(waiting) == 1 else 'are'}"
        yield f"{count} not taken in yet{_shown(waiting)}: the worker is behind, and this is how the device stood before."


def _registered(registered: RegistryEntry | None, unknown_devices: str, missing: Sequence[Missing]) -> Iterator[str]:
    if registered is not None:
        by = "by itself, nobody has registered it" if registered.provisioned else "by people"
        name = f" {registered.name!r}" if registered.name else ""
        yield f"Registered{name} as device {registered.device_id} at site {registered.site_id}, {registered.device_type} ({by})."
    elif not any(each.part == "registry" for each in missing):
        what = (
            "its next valid message gives it an entry"
            if unknown_devices == "provision"
            else "its messages go to the dead letters as unknown_device"
        )
        yield f"Not in the registry: {what} (EMS_UNKNOWN_DEVICES={unknown_devices})."


def _dropped(dropped: DroppedSummary, facts: DeviceFacts | None) -> Iterator[str]:
    if dropped.duplicates_seen or dropped.duplicates_counted:
        counted = (
            "" if dropped.duplicates_counted is None else f"{dropped.duplicates_counted} counted by the worker since the device is known, "
        )
        ids = f" with message ids {', '.join(dropped.duplicate_message_ids[:PLACES_SHOWN])}" if dropped.duplicate_message_ids else ""
        yield f"Duplicates: {counted}{len(dropped.duplicates_seen)} among the records looked at{_shown(dropped.duplicates_seen)}{ids}."
    if dropped.late_seen or dropped.late_counted:
        counted = "" if dropped.late_counted is None else f"{dropped.late_counted} counted by the worker, "
        yield f"Too late for any window: {counted}{len(dropped.late_seen)} among the records looked at{_shown(dropped.late_seen)}."
    if dropped.dead_letters_seen:
        yield f"Dead letters: {len(dropped.dead_letters_seen)} among the records looked at{_shown(dropped.dead_letters_seen)}."
    if facts is not None and facts.messages is not None:
        if facts.messages.future:
            yield f"{facts.messages.future} messages were more than an hour ahead of their arrival: in the total, in no window."
        if facts.messages.left_out_values:
            yield f"{facts.messages.left_out_values} values were left out: the device has sent more different metrics than are kept."


def _shown(places: Sequence[Place]) -> str:
    if not places:
        return ""
    more = f" and {len(places) - PLACES_SHOWN} more" if len(places) > PLACES_SHOWN else ""
    return f" ({', '.join(str(place) for place in places[-PLACES_SHOWN:])}{more})"

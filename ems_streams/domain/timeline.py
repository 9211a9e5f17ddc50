"""Records of a device in words: a line for each, and which of them changed nothing."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from ems_streams.domain.alarms import decode_acknowledgement, decode_alarm_event
from ems_streams.domain.command_events import CancelRequest, CommandEvent, decode_request
from ems_streams.domain.device_facts import Place
from ems_streams.domain.device_history import HistoryRecord
from ems_streams.domain.events import CommandAck, Notification, StatusEvent, StatusReport, decode, format_time
from ems_streams.domain.explanation import TimelineEntry
from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.letter import Failure, read_failure
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.errors import MalformedError

METRICS_SHOWN: Final = 4
TEXT_MAX: Final = 300
SITE_DIGITS_MAX: Final = 19


class Words(NamedTuple):
    """What a record says.

    Attributes:
        event_ms: Time that it names.
    """

    what: str
    said: str
    event_at: Any = None
    message_id: str | None = None


Reader = Callable[[HistoryRecord], Words]


def site_of(record: HistoryRecord) -> int | None:
    """The site that a record names, or of a dead letter of MQTT the one in its topic; None when nothing says it."""
    origin = read_failure(record.headers).origin
    parts = [] if origin is None else origin.topic.split("/")
    if len(parts) > 1 and parts[0] == "sites" and parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= SITE_DIGITS_MAX:
        return int(parts[1])
    try:
        fields = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
    site_id = fields.get("siteId") if isinstance(fields, dict) else None
    return site_id if type(site_id) is int else None


def timeline(
    records: Iterable[HistoryRecord], readers: Mapping[str, Reader], put_aside: Container[str], late_topic: str, folded: Mapping[str, int]
) -> tuple[TimelineEntry, ...]:
    """A line for each record.

    Args:
        records: In the order of their times.
        readers: By topic, what reads it.
        put_aside: Topics of dead letters.
        late_topic: Of telemetry that came too late.
        folded: By topic, the last offset that the worker has taken in; empty when it does not answer.
    """
    found = []
    for record in records:
        place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
        common = {"at": from_epoch_ms(record.timestamp_ms), "place": place}
        if record.topic in put_aside:
            found.append(_dead_letter(record, common))
        elif record.topic == late_topic:
            found.append(_late(record, common))
        else:
            taken_in = record.offset <= folded[record.topic] if record.topic in folded else None
            found.append(_entry(record, readers, common, taken_in))
    return tuple(found)


def _entry(record: HistoryRecord, readers: Mapping[str, Reader], common: Mapping[str, Any], taken_in: bool | None) -> TimelineEntry:
    try:
        words = readers[record.topic](record)
    except MalformedError as error:
        return TimelineEntry(**common, what="malformed", said=_cut(f"{record.topic}: {error}"), folded=taken_in)
    return TimelineEntry(
        **common, event_at=words.event_at, what=words.what, said=_cut(words.said), message_id=words.message_id, folded=taken_in
    )


def _late(record: HistoryRecord, common: Mapping[str, Any]) -> TimelineEntry:
    headers = {name: content.decode(errors="replace") for name, content in record.headers}
    topic, partition, offset = (headers.get(f"late-original-{name}") for name in ("topic", "partition", "offset"))
    try:
        words = read_telemetry(record)
    except MalformedError as error:
        words = Words("telemetry", str(error))
    watermark = headers.get("late-watermark")
    because = f"the device's time was at {watermark} already, beyond what may be corrected: it counts in the total and in no window"
    return TimelineEntry(
        **common,
        event_at=words.event_at,
        what="late telemetry",
        said=_cut(words.said),
        message_id=words.message_id,
        dropped="late",
        because=because,
        origin=f"{topic}[{partition}]@{offset}" if topic else None,
    )


def _dead_letter(record: HistoryRecord, common: Mapping[str, Any]) -> TimelineEntry:
    failure = read_failure(record.headers)
    said = f"{failure.error_class or 'failed'}: {failure.error_message or 'no reason is given'}"
    by = f" by {failure.stage}" if failure.stage else ""
    times = f", after {failure.attempts} attempts" if (failure.attempts or 0) > 1 else ""
    because = (
        f"put aside{by}{times}; {record.size} bytes are kept; `ems-streams dlt show {record.topic}/{record.partition}/{record.offset}`"
    )
    return TimelineEntry(**common, what="dead letter", said=_cut(said), dropped="malformed", because=because, origin=_origin(failure))


def _origin(failure: Failure) -> str | None:
    origin = failure.origin
    if origin is None:
        return None
    return f"MQTT {origin.topic}" if failure.from_mqtt else f"{origin.topic}[{origin.partition}]@{origin.offset}"


def mark_duplicates(entries: Sequence[TimelineEntry], records: Iterable[HistoryRecord], topic: str) -> tuple[TimelineEntry, ...]:
    """Mark telemetry that is there twice.

    Only what is surely dropped is marked: the same message id as one of the last `RECENT_IDENTITIES` with ids, or, without an id, the same bytes. What
    was there first may be further back than was read, so that fewer may be marked than there are.
    """
    first: dict[bytes, HistoryRecord] = {}
    with_ids: list[bytes] = []
    because: dict[tuple[str, int, int], tuple[str, str]] = {}
    for record in records:
        if record.topic != topic:
            continue
        message_id = _message_id(record)
        identity = telemetry_identity(message_id, record.value or b"")
        before = first.get(identity)
        remembered = message_id is None or identity in with_ids[-RECENT_IDENTITIES:]
        if before is not None and remembered:
            how = f"the message id {message_id!r}" if message_id else "the bytes"
            origin = f"{before.topic}[{before.partition}]@{before.offset}"
            because[record.place] = f"has {how} of {origin}: it was counted once", origin
            continue
        first[identity] = record
        if message_id is not None:
            with_ids.append(identity)
    return tuple(_marked(each, because.get((each.place.topic, each.place.partition, each.place.offset))) for each in entries)


def _marked(entry: TimelineEntry, found: tuple[str, str] | None) -> TimelineEntry:
    if found is None:
        return entry
    return entry.model_copy(update={"dropped": "duplicate", "because": found[0], "origin": found[1]})


def _message_id(record: HistoryRecord) -> str | None:
    try:
        return decode_telemetry_record(record.value).message_id
    except MalformedError:
        return None


def read_telemetry(record: HistoryRecord) -> Words:
    """Telemetry: the first few metrics."""
    telemetry = decode_telemetry_record(record.value)
    shown = [f"{name}={value:.6g}" for name, value in list(telemetry.metrics.items())[:METRICS_SHOWN]]
    more = len(telemetry.metrics) - len(shown)
    said = " ".join(shown) + (f" and {more} more" if more > 0 else "")
    return Words("telemetry", said, from_epoch_ms(telemetry.timestamp_ms), telemetry.message_id)


def read_report(record: HistoryRecord) -> Words:
    """What the device says of itself."""
    report = decode(StatusReport, record.value)
    code = f" (code {report.error_code})" if report.error_code else ""
    return Words(
        "status report", f"{report.status}{code}{f': {report.reason}' if report.reason else ''}", report.timestamp, report.message_id
    )


def read_transition(record: HistoryRecord) -> Words:
    """A transition."""
    event = decode(StatusEvent, record.value)
    evidence = "" if event.evidence is None else f" by {event.evidence.topic}[{event.evidence.partition}]@{event.evidence.offset}"
    return Words("transition", f"{event.previous_status} -> {event.new_status}: {event.reason}{evidence}", event.timestamp)


def read_alarm(record: HistoryRecord) -> Words:
    """A step in the life of an alarm."""
    event = decode_alarm_event(record.value)
    because = f" because {event.cleared_because}" if event.cleared_because else ""
    step = event.event_type.removeprefix("ALARM_").lower()
    return Words("alarm", f"{event.rule_id} {step} ({event.severity}){because}: {event.message}", event.timestamp)


def read_acknowledgement(record: HistoryRecord) -> Words:
    """Somebody takes note of an alarm."""
    event = decode_acknowledgement(record.value)
    return Words("acknowledgement", f"of {event.alarm_id} by {event.acknowledged_by}", event.timestamp)


def read_request(record: HistoryRecord) -> Words:
    """A command, or that it is taken back."""
    request = decode_request(record.value)
    if isinstance(request, CancelRequest):
        return Words("command cancelled", f"{request.command_id} by {request.requested_by}", request.requested_at)
    until = format_time(request.expires_at)
    return Words("command", f"{request.command} {request.command_id} by {request.requested_by}, until {until}", request.requested_at)


def read_ack(record: HistoryRecord) -> Words:
    """An answer of the device."""
    ack = decode(CommandAck, record.value)
    return Words("command answer", f"{ack.result} {ack.command_id}{f': {ack.detail}' if ack.detail else ''}", ack.timestamp)


def read_step(record: HistoryRecord) -> Words:
    """A step in the life of a command."""
    event = decode(CommandEvent, record.value)
    return Words(
        "command step",
        f"{event.command} {event.command_id} is {event.status}{f': {event.detail}' if event.detail else ''}",
        event.timestamp,
    )


def read_notification(record: HistoryRecord) -> Words:
    """What people were told."""
    told = decode(Notification, record.value)
    return Words("notification", f"{told.kind} ({told.severity}): {told.title}", told.timestamp)


def read_entry(record: HistoryRecord) -> Words:
    """A change of the registry."""
    if record.value is None:
        return Words("registry", "removed")
    entry = decode(RegistryEntry, record.value)
    limits = f", limits {orjson.dumps(entry.limits).decode()}" if entry.limits else ""
    return Words("registry", f"device {entry.device_id} at site {entry.site_id}, {entry.device_type}{limits}")


def _cut(text: str) -> str:
    # Whatever a device or a header said, it is one line.
    line = " ".join(text.split())
    return line if len(line) <= TEXT_MAX else f"{line[: TEXT_MAX - 1]}…"

"""What becomes of a dead letter that is redriven: where it goes, in which bytes, or why it cannot; no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ems_streams.dead_letters.decoding import defect_of
from ems_streams.dead_letters.reader import is_dead_letter_topic
from ems_streams.domain.dead_letter import LETTER, Origin, dead_letter_headers, foreign_headers
from ems_streams.domain.device_topic import parse_topic, serial_number_in
from ems_streams.domain.letter import Letter, is_time, redriven_headers
from ems_streams.domain.letter_edit import Edit, Edited
from ems_streams.domain.receipt_clock import moment
from ems_streams.domain.redrives import Done, Outcome, RedriveDefinition
from ems_streams.domain.registry import Directory
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.batching import Headers, KeyValue
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, INGRESS_HEARTBEATS, QUARANTINE, REDRIVES, Catalogue, dlt_of
from ems_streams.kafka.ingress_routes import ROUTES, STAGE, target_of
from ems_streams.kafka.partitioner import partition_for

KAFKA_MESSAGE_BYTES: Final = 1_048_588
"""What a topic takes unless it is configured otherwise."""
_OVERHEAD_BYTES: Final = 256

Output = tuple[str, int, KeyValue]
"""Topic, partition and record."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a letter.

    Attributes:
        outcome: In a word.
        target: Topic that it goes to, if it goes anywhere.
        reason: Machine-readable, of a refusal.
        detail: The same for people; of a letter that is sent, what its readers will still find wrong with it.
        outputs: Records to be written.
    """

    outcome: Outcome
    target: str | None = None
    reason: str = ""
    detail: str = ""
    outputs: tuple[Output, ...] = ()


class _RefusedError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = Verdict(Outcome.REFUSED, reason=reason, detail=detail)


class Resolver:
    """Decides letter by letter.

    Args:
        catalogue: What topics are for.
        partitions: Partition count of every topic of the cluster.
        newest: Of compacted topics, the last offset by topic, partition and key.

    Attributes:
        directory: The registry, for what came over MQTT.
    """

    def __init__(
        self, catalogue: Catalogue, partitions: Mapping[str, int], newest: Mapping[tuple[str, int, bytes], int], directory: Directory | None
    ) -> None:
        self._catalogue = catalogue
        self._partitions = partitions
        self._newest = newest
        self.directory = directory

    def resolve(self, letter: Letter, definition: RedriveDefinition, done: Done | None) -> Verdict:
        """What becomes of a letter that a redrive is about."""
        if done is not None and not definition.again:
            return Verdict(Outcome.DONE_BEFORE, detail=f"{done.outcome} by {done.redrive_id}")
        if letter.failure.replay_count >= definition.max_replays:
            return self._quarantined(letter, definition)
        edit = definition.edit_of(letter.letter_id)
        try:
            return self._sent(letter, edit, redriven_headers(letter, definition.redrive_id))
        except _RefusedError as refusal:
            return refusal.verdict
        except MalformedError as error:
            return _RefusedError(error.reason, error.detail).verdict

    def _quarantined(self, letter: Letter, definition: RedriveDefinition) -> Verdict:
        detail = f"redriven {letter.failure.replay_count} times, of {definition.max_replays}"
        if letter.letter_id.topic == QUARANTINE:
            return Verdict(Outcome.REFUSED, reason="redriven_too_often", detail=f"{detail}: allow it more with --max-replays")
        if QUARANTINE not in self._partitions:
            return Verdict(
                Outcome.REFUSED, reason="topic_gone", detail=f"there is no topic {QUARANTINE}; `ems-streams topics apply` makes it"
            )
        record: KeyValue = (letter.key, letter.value, [*letter.headers, (LETTER, str(letter.letter_id).encode())])
        where = letter.letter_id.partition % self._partitions[QUARANTINE]
        return Verdict(Outcome.QUARANTINED, QUARANTINE, detail=detail, outputs=((QUARANTINE, where, record),))

    def _sent(self, letter: Letter, edit: Edit, headers: Headers) -> Verdict:
        failure = letter.failure
        if failure.origin is None:
            raise _RefusedError("no_origin", "its headers do not say where it came from")
        if failure.cut_from is not None and edit.value is None:
            raise _RefusedError("cut", f"only the beginning of its {failure.cut_from} bytes was kept: give all of the value anew")
        edited = edit.apply(letter.key, letter.value)
        if failure.from_mqtt:
            return self._from_mqtt(letter, failure.origin, edit, edited, headers)
        if edit.mqtt_topic is not None:
            raise _RefusedError("cannot_edit", f"it came from Kafka ({failure.origin.topic}), and has no MQTT topic")
        return self._to_kafka(failure.origin, edit, edited, headers)

    def _to_kafka(self, origin: Origin, edit: Edit, edited: Edited, headers: Headers) -> Verdict:
        target = origin.topic
        self._check_target(target)
        partition = self._partition(target, origin, edit, edited)
        newer = -1 if edited.key is None else self._newest.get((target, partition, edited.key), -1)
        if edit.empty and 0 <= origin.offset < newer:
            raise _RefusedError("superseded", f"{target} has a newer record of this key, at offset {newer}: this one would undo it")
        defect = defect_of(target, edited.key, edited.value)
        if defect is not None and not edit.empty:
            raise _RefusedError("still_malformed", f"after the edit: {defect}")
        record: KeyValue = (edited.key, edited.value, headers)
        self._check_size(target, record)
        return Verdict(Outcome.SENT, target, detail="" if defect is None else str(defect), outputs=((target, partition, record),))

    def _partition(self, target: str, origin: Origin, edit: Edit, edited: Edited) -> int:
        """The one that it was in, since its state is there; that of its key when the key is another or the partition is gone."""
        count = self._partitions[target]
        if edit.key is None and 0 <= origin.partition < count:
            return origin.partition
        return 0 if edited.key is None else partition_for(edited.key, count)

    def _check_target(self, target: str) -> None:
        if target == INGRESS_HEARTBEATS:
            raise _RefusedError(
                "no_use", "a heartbeat speaks of the moment at which it was written; the next one has said the same of a later one"
            )
        if is_dead_letter_topic(target) or target == REDRIVES or target.endswith("-changelog") or target.startswith("__"):
            raise _RefusedError("no_use", f"{target} is no topic of events")
        if target not in self._partitions:
            raise _RefusedError("topic_gone", f"there is no topic {target} any more")

    def _check_size(self, target: str, record: KeyValue) -> None:
        key, value, headers = record
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers) + _OVERHEAD_BYTES
        topic = self._catalogue.get(target)
        most = int(topic.config.get("max.message.bytes", KAFKA_MESSAGE_BYTES)) if topic is not None else KAFKA_MESSAGE_BYTES
        if size > most:
            raise _RefusedError("too_large", f"{size} bytes with its headers; {target} takes {most}")

    def _from_mqtt(self, letter: Letter, origin: Origin, edit: Edit, edited: Edited, headers: Headers) -> Verdict:
        """Check it as an ingress does, with the time at which it was received then."""
        assert self.directory is not None, "whoever resolves letters from MQTT has read the registry"
        mqtt_topic = edited.mqtt_topic or origin.topic
        # Two equal messages of one millisecond stay two, if they have no time of their own.
        received_us = _received_ms(letter, origin) * 1000 + letter.letter_id.offset % 1000
        try:
            topic = parse_topic(mqtt_topic)
            if topic.kind not in ROUTES:
                raise _RefusedError("no_use", "a command is what we send, and nothing to be received")
            target, encode = ROUTES[topic.kind]
            value = encode(edited.value or b"", topic, received_us, self.directory)
        except MalformedError as error:
            if not edit.empty:
                raise _RefusedError("still_malformed", f"after the edit: {error}") from None
            return self._failed_again(letter, origin, error.reason, error.detail, received_us)
        finally:
            registered = self.directory.take_new()
        self._check_target(target)
        key = topic.serial_number.encode()
        outputs: list[Output] = [
            (
                DEVICE_REGISTRY,
                partition_for(entry.serial_number.encode(), self._partitions[DEVICE_REGISTRY]),
                (entry.serial_number.encode(), entry.encode(), ()),
            )
            for entry in registered
        ]
        outputs.append((target, partition_for(key, self._partitions[target]), (key, value, headers)))
        return Verdict(Outcome.SENT, target, outputs=tuple(outputs))

    def _failed_again(self, letter: Letter, origin: Origin, reason: str, detail: str, received_us: int) -> Verdict:
        target = letter.letter_id.topic if letter.letter_id.topic != QUARANTINE else dlt_of(target_of(origin.topic))
        headers = dead_letter_headers(
            origin,
            reason,
            detail,
            stage=STAGE,
            failed_at=_time(letter.failure.first_failed_at) or moment(received_us),
            attempts=(letter.failure.attempts or 1) + 1,
            replay_count=letter.failure.replay_count + 1,
        )
        serial_number = serial_number_in(origin.topic)
        key = letter.key if serial_number is None else serial_number.encode()
        record: KeyValue = (key, letter.value, [*headers, *foreign_headers(letter.headers)])
        partition = letter.letter_id.partition % self._partitions[target]
        return Verdict(Outcome.FAILED_AGAIN, target, reason, detail, ((target, partition, record),))


def _received_ms(letter: Letter, origin: Origin) -> int:
    """When it was received, as far as anything says it."""
    first_failed_at = _time(letter.failure.first_failed_at)
    said = (origin.timestamp_ms, letter.timestamp_ms, 0 if first_failed_at is None else to_epoch_ms(first_failed_at))
    for at_ms in said:
        if is_time(at_ms):
            return at_ms
    raise _RefusedError("no_time", "nothing says when it was received: neither its headers nor its record")


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
        # Some have a time of their zone only: before the first one that there is, or after the last.
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None

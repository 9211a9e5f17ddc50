"""From records of `device-notifications` to chains of one channel, and from chains to dead letters."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from ems_streams.channels.journal import Output
from ems_streams.channels.source import KafkaRecord
from ems_streams.domain.channel_config import ChannelsConfig
from ems_streams.domain.dead_letter import (
    CHANNEL,
    Headers,
    Origin,
    contents,
    dead_letter_headers,
    foreign_headers,
    malformed_headers,
    replay_count_of,
)
from ems_streams.domain.deliveries import Chain, Change, Deliveries, Outcome, Source
from ems_streams.domain.events import Notification, decode
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, dlt_of
from ems_streams.tracing import current

STAGE = "notifier"
TAKEN_MAX_BYTES = 4 * 1024 * 1024
"""Of a notification as it is put on record, which is less than what the changelog of deliveries takes."""


@dataclass(slots=True)
class Taken:
    """What came of some records.

    Attributes:
        changes: Chains that were begun.
        dead_letters: Of records that are no notifications.
        known: Notifications that had a chain before.
    """

    changes: list[Change] = field(default_factory=list)
    dead_letters: list[Output] = field(default_factory=list)
    known: int = 0


def take_in(config: ChannelsConfig, channel: str, deliveries: Deliveries, records: Iterable[KafkaRecord]) -> Taken:
    """Begin a chain for each notification that the channel wants."""
    taken = Taken()
    for record in records:
        try:
            notification = decode(Notification, record.value)
            if not config.wanted_by(channel, notification):
                continue
            _check_size(record)
        except MalformedError as error:
            failed_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            source = _source(record)
            headers = malformed_headers(_origin(source), error, stage=STAGE, failed_at=failed_at, replay_count=source.replay_count)
            taken.dead_letters.append(_dead_letter(channel, source, record.value, headers))
            continue
        changes = deliveries.take(notification, record.value, _source(record))
        taken.changes += changes
        taken.known += not changes
        if changes and (tracing := current()) is not None:
            tracing.follow(record, "notification taken by a channel", {"ems.channel": channel})
    return taken


def _check_size(record: KafkaRecord) -> None:
    """Raises `MalformedError` for one that could not be put on record: its channel would never get past it."""
    size = len(record.value or b"") + sum(len(name) + 2 * len(content or b"") for name, content in record.headers)
    if size <= TAKEN_MAX_BYTES // 8:
        return
    # As text in JSON: a quote takes two bytes, a control character six.
    size += len(orjson.dumps((record.value or b"").decode())) - len(record.value or b"")
    if size > TAKEN_MAX_BYTES:
        raise MalformedError("too_large", f"{size} bytes as it would be put on record, expected at most {TAKEN_MAX_BYTES}")


def dead_letters_of(channel: str, chains: Iterable[Chain], outcome: Outcome) -> list[Output]:
    """Records of chains that have ended without success: their own key and exact bytes, with why and after how many attempts."""
    return [
        _dead_letter(
            channel,
            chain.source,
            chain.value,
            dead_letter_headers(
                _origin(chain.source),
                outcome.error_class,
                chain.error,
                stage=STAGE,
                failed_at=from_epoch_ms(chain.first_failed_ms or chain.source.timestamp_ms),
                attempts=chain.attempts,
                replay_count=chain.source.replay_count,
            ),
        )
        for chain in chains
    ]


def _source(record: KafkaRecord) -> Source:
    carried = tuple(foreign_headers(record.headers))
    return Source(record.partition, record.offset, record.timestamp, record.key, replay_count_of(record.headers), carried)


def _origin(source: Source) -> Origin:
    return Origin(DEVICE_NOTIFICATIONS, source.timestamp_ms, source.partition, source.offset)


def _dead_letter(channel: str, source: Source, value: bytes | None, headers: Headers) -> Output:
    kept, all_headers = contents(value, [*headers, (CHANNEL, channel.encode())], source.carried)
    # The dead letters have as many partitions as their topic.
    return dlt_of(DEVICE_NOTIFICATIONS), source.partition, (source.key, kept, all_headers)

"""Alarm rules on their topic, read and written from outside; each is written into every partition, in one transaction."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka import ConsumerRecord

from ems_streams.domain.alarm_rules import AlarmRule, decode_rule
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import ALARM_RULES
from ems_streams.kafka.every_partition import write_everywhere
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings

BY_HEADER = "applied-by"
FIRST_PARTITION = 0


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as it is on the topic.

    Attributes:
        applied_at: When it was written.
        applied_by: Who wrote it, as far as they said.
    """

    rule: AlarmRule
    applied_at: datetime
    applied_by: str | None


@dataclass(slots=True)
class StoredRules:
    """What is on the topic.

    Attributes:
        partitions: Of the topic.
        by_id: Rules, in the order of their ids.
        unreadable: Keys of records that are no rules, and why; the agents have put them into the dead letters.
        ever_written: Whether anything was ever written to the topic, also if all of it was removed.
    """

    partitions: list[int]
    by_id: dict[str, StoredRule] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    ever_written: bool = False

    @property
    def current(self) -> dict[str, AlarmRule | None]:
        """Rules by id, and None for what is no rule."""
        return {**dict.fromkeys(self.unreadable), **{rule_id: each.rule for rule_id, each in self.by_id.items()}}


async def stored_rules(settings: Settings) -> StoredRules:
    """What is on the topic now; raises `EmsError`."""
    latest: dict[bytes, ConsumerRecord] = {}
    async with positioned_consumer(settings) as consumer:
        every = await whole(consumer, ALARM_RULES)
        ranges = {tp: bounds for tp, bounds in every.items() if tp.partition == FIRST_PARTITION}
        async for _, records in read_ranges(consumer, ranges):
            latest.update({record.key or b"": record for record in records})
    found = StoredRules(sorted(tp.partition for tp in every), ever_written=any(end > 0 for _, end in ranges.values()))
    for key in sorted(latest):
        record = latest[key]
        if record.value is not None:
            _take(found, record)
    return found


async def write_rules(settings: Settings, partitions: Iterable[int], put: Iterable[AlarmRule], remove: Iterable[str], by: str) -> None:
    """Put rules in place of those of their ids and remove others, in all partitions or in none; raises `EmsError`."""
    headers = ((BY_HEADER, by.encode()),)
    records: list[KeyValue] = [(rule.key, rule.encode(), headers) for rule in put]
    records += [(rule_id.encode(errors="surrogateescape"), None, headers) for rule_id in remove]
    await write_everywhere(settings, f"{settings.application_id}-alarm-rules-{uuid.uuid4().hex}", ALARM_RULES, partitions, records)


def _take(found: StoredRules, record: ConsumerRecord) -> None:
    # As with file names: whatever bytes a key has, they can be named, and removed.
    name = (record.key or b"").decode(errors="surrogateescape")
    try:
        rule = decode_rule(record.key, record.value)
    except MalformedError as error:
        found.unreadable[name] = str(error)
        return
    by = dict(record.headers).get(BY_HEADER)
    found.by_id[rule.id] = StoredRule(rule, from_epoch_ms(record.timestamp), None if by is None else by.decode(errors="replace"))

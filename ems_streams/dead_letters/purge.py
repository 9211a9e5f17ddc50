"""Deleting the oldest letters of a topic for good; Kafka can only cut off the beginning of a partition."""

import asyncio
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient

from ems_streams.dead_letters.groups import Groups, grouped
from ems_streams.dead_letters.reader import Ranges, check_topic, ranges_of
from ems_streams.dead_letters.state import read_state
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.errors import EmsError, UsageError
from ems_streams.kafka.admin import REQUEST_TIMEOUT_S, client_config
from ems_streams.kafka.range_reader import positioned_consumer
from ems_streams.kafka.refusals import unreachable
from ems_streams.settings import Settings


@dataclass(slots=True)
class PurgePlan:
    """What would be deleted.

    Attributes:
        ranges: Of each partition the first offset, and the one before which all is deleted.
        groups: What is in there, by error class.
    """

    topic: str
    ranges: Ranges = field(default_factory=dict)
    groups: Groups = field(default_factory=lambda: Groups(("error-class",)))

    @property
    def letters(self) -> int:
        """Letters that would be gone."""
        return self.groups.letters

    @property
    def open_letters(self) -> int:
        """Those of them that nobody has dealt with."""
        return sum(each.open for each in self.groups.found.values())


async def plan_purge(
    settings: Settings, topic: str, *, before_ms: int | None, before_offset: int | None, partition: int | None
) -> PurgePlan:
    """What lies before a time, or before an offset of one partition; raises `UsageError` and other `EmsError`."""
    check_topic(topic)
    done = (await read_state(settings)).done_of(topic)
    async with positioned_consumer(settings) as consumer:
        everything = await ranges_of(consumer, topic)
        if partition is not None and partition not in everything:
            raise UsageError(f"--partition {partition}: {topic} has partitions 0 to {max(everything)}")
        if before_offset is not None and partition is None and len(everything) > 1:
            raise UsageError(f"--before {before_offset}: an offset is one of a partition, so --partition is expected with it")
        ranges = {number: bounds for number, bounds in everything.items() if partition in (None, number)}
        if before_offset is not None:
            ends = dict.fromkeys(ranges, before_offset)
        else:
            ends = await _offsets_before(consumer, topic, ranges, before_ms or 0)
        cut = {number: (start, min(max(ends[number], start), end)) for number, (start, end) in ranges.items()}
        cut = {number: (start, end) for number, (start, end) in cut.items() if start < end}
        return PurgePlan(topic, cut, await grouped(consumer, topic, cut, ("error-class",), done=done, chosen=LetterFilter()))


async def _offsets_before(consumer: AIOKafkaConsumer, topic: str, ranges: Ranges, before_ms: int) -> dict[int, int]:
    found = await consumer.offsets_for_times({TopicPartition(topic, number): before_ms for number in ranges})
    return {number: end if (at := found[TopicPartition(topic, number)]) is None else at.offset for number, (_, end) in ranges.items()}


async def purge(settings: Settings, planned: PurgePlan) -> None:
    """Delete what was planned; raises `EmsError`."""
    if planned.ranges:
        await asyncio.to_thread(_delete, settings, planned)


def _delete(settings: Settings, planned: PurgePlan) -> None:
    client = AdminClient(client_config(settings))
    wanted = [AdminPartition(planned.topic, number, end) for number, (_, end) in planned.ranges.items()]
    for where, future in client.delete_records(wanted, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result(REQUEST_TIMEOUT_S + 1)
        except TimeoutError:
            raise unreachable(settings) from None
        except KafkaException as error:
            raise EmsError(f"cannot delete letters of {planned.topic}[{where.partition}]: {error.args[0].str()}") from None

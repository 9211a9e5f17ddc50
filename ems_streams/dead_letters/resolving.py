"""Reading letters together with what it takes to decide about them: topics of the cluster, the registry, newer records of compacted topics."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer

from ems_streams.dead_letters.reader import ranges_of, scan
from ems_streams.dead_letters.resolve import Resolver, Verdict
from ems_streams.domain.letter import Letter
from ems_streams.domain.redrives import DoneIndex, RedriveDefinition
from ems_streams.domain.registry import Directory
from ems_streams.kafka.admin import catalogue_of
from ems_streams.kafka.catalogue import DLT_SUFFIX, QUARANTINE
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.kafka.registry import RegistryView
from ems_streams.settings import Settings

LETTERS_AT_ONCE: Final = 500


class Resolving:
    """Verdicts for letters, with the registry read when the first letter from MQTT comes."""

    def __init__(self, settings: Settings, definition: RedriveDefinition, resolver: Resolver) -> None:
        self._settings = settings
        self._definition = definition
        self._resolver = resolver
        self._registry: RegistryView | None = None

    async def verdicts(self, letters: Iterable[Letter], done: DoneIndex) -> list[tuple[Letter, Verdict]]:
        """Of the letters that the redrive is about, in their order."""
        wanted = [letter for letter in letters if self._definition.wants(letter)]
        if self._resolver.directory is None and any(letter.failure.from_mqtt for letter in wanted):
            self._registry = RegistryView(self._settings)
            await self._registry.start()
            self._resolver.directory = Directory(self._registry, provision_unknown=self._settings.unknown_devices == "provision")
        return [(letter, self._resolver.resolve(letter, self._definition, done.of(letter))) for letter in wanted]

    async def close(self) -> None:
        """Stop following the registry."""
        if self._registry is not None:
            await self._registry.stop()


@contextlib.asynccontextmanager
async def reading(
    settings: Settings, definition: RedriveDefinition, ranges: Mapping[int, tuple[int, int]]
) -> AsyncIterator[tuple[AsyncIterator[list[Letter]], Resolving]]:
    """Letters of ranges in pieces, with all of their values, and what gives verdicts on them; both on one consumer."""
    async with positioned_consumer(settings, records_max=LETTERS_AT_ONCE) as consumer:
        cluster = await consumer._client.fetch_all_metadata()
        partitions = {name: len(cluster.partitions_for_topic(name) or ()) for name in cluster.topics()}
        newest = await _newest(consumer, settings, definition.topic, partitions)
        # What was purged meanwhile is not there any more.
        there = await ranges_of(consumer, definition.topic)
        left = {
            number: (max(start, there[number][0]), min(end, there[number][1])) for number, (start, end) in ranges.items() if number in there
        }
        resolving = Resolving(settings, definition, Resolver(catalogue_of(settings), partitions, newest, None))
        try:
            async with contextlib.aclosing(scan(consumer, definition.topic, left, None)) as pieces:
                yield pieces, resolving
        finally:
            await resolving.close()


async def _newest(
    consumer: AIOKafkaConsumer, settings: Settings, topic: str, partitions: Mapping[str, int]
) -> dict[tuple[str, int, bytes], int]:
    """The last offset of every key of the compacted topics that letters of a topic may come from."""
    catalogue = catalogue_of(settings)
    origins = [each.name for each in catalogue if each.compacted and each.name + DLT_SUFFIX in catalogue]
    if topic != QUARANTINE:
        origins = [name for name in origins if name + DLT_SUFFIX == topic]
    newest: dict[tuple[str, int, bytes], int] = {}
    for name in origins:
        if name in partitions:
            async for tp, records in read_ranges(consumer, await whole(consumer, name)):
                newest.update({(name, tp.partition, record.key or b""): record.offset for record in records})
    return newest

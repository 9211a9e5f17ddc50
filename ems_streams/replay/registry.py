"""The replays that exist and how far they are: records of the compacted topic `replays`, so that any machine can go on with any of them."""

from dataclasses import dataclass, field
from enum import StrEnum

from ems_streams.domain.events import decode
from ems_streams.domain.replays import ReplayDefinition, ReplayProgress
from ems_streams.errors import EmsError
from ems_streams.kafka.catalogue import REPLAYS
from ems_streams.kafka.command_writer import command_writer
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings

PARTITION = 0


class ReplayState(StrEnum):
    """Where a replay is in its life."""

    NEW = "new"
    STARTED = "started"
    FINISHED = "finished"


@dataclass(slots=True)
class Replay:
    """A replay as it is.

    Attributes:
        definition: What was asked for.
        progress: By partition, of those that have any.
    """

    definition: ReplayDefinition
    progress: dict[int, ReplayProgress] = field(default_factory=dict)

    @property
    def state(self) -> ReplayState:
        """Whether it is done; one that is not can be continued."""
        if all(self.progress.get(partition, ReplayProgress()).finished for partition in self.definition.offsets):
            return ReplayState.FINISHED
        return ReplayState.STARTED if self.progress else ReplayState.NEW

    @property
    def read(self) -> int:
        """Offsets that are done."""
        return sum(each.read for each in self.progress.values())

    @property
    def windows(self) -> int:
        """Revisions that were published to the shadow."""
        return sum(each.windows for each in self.progress.values())

    @property
    def put_aside(self) -> int:
        """Records that no fold could process."""
        return sum(each.put_aside for each in self.progress.values())

    @property
    def suppressed(self) -> dict[str, int]:
        """By topic, what was not published."""
        topics = sorted({topic for each in self.progress.values() for topic in each.suppressed})
        return {topic: sum(each.suppressed.get(topic, 0) for each in self.progress.values()) for topic in topics}


def definition_key(application_id: str, name: str) -> bytes:
    """Key of a definition; nothing in it contains a slash."""
    return f"{application_id}/{name}".encode()


def progress_key(definition: ReplayDefinition, partition: int) -> bytes:
    """Key of a partition's progress."""
    return f"{definition.application_id}/{definition.name}/{partition}".encode()


async def latest_records(settings: Settings) -> dict[bytes, bytes | None]:
    """The last record of every key of the topic."""
    latest: dict[bytes, bytes | None] = {}
    async with positioned_consumer(settings) as consumer:
        async for _, records in read_ranges(consumer, await whole(consumer, REPLAYS)):
            latest.update({record.key: record.value for record in records})
    return latest


async def replays(settings: Settings) -> dict[str, Replay]:
    """Every replay of this application id, by name."""
    latest = await latest_records(settings)
    found: dict[str, Replay] = {}
    progress: list[tuple[str, int, bytes]] = []
    for key, value in latest.items():
        application_id, name, *partition = key.decode().split("/")
        # Names that begin with a tilde are not those of replays.
        if value is None or application_id != settings.application_id or name.startswith("~"):
            continue
        if partition:
            progress.append((name, int(partition[0]), value))
        else:
            found[name] = Replay(decode(ReplayDefinition, value))
    for name, number, value in progress:
        if name in found:
            found[name].progress[number] = decode(ReplayProgress, value)
    return dict(sorted(found.items()))


async def replay_of(settings: Settings, name: str) -> Replay:
    """A replay; raises `EmsError` when there is none of that name."""
    every = await replays(settings)
    if name not in every:
        known = ", ".join(every) or "none"
        raise EmsError(f"there is no replay {name}; there are: {known}")
    return every[name]


async def define(settings: Settings, definition: ReplayDefinition) -> None:
    """Make a replay known."""
    await _publish(settings, {definition_key(definition.application_id, definition.name): definition.encode()})


async def forget(settings: Settings, replay: Replay) -> None:
    """Make a replay unknown, with its progress."""
    definition = replay.definition
    keys = [progress_key(definition, partition) for partition in definition.offsets]
    await _publish(settings, {**dict.fromkeys(keys), definition_key(definition.application_id, definition.name): None})


def backfill_prefix(settings: Settings, topic: str) -> str:
    """What keys of the records begin with that say which rows of which file are on a topic."""
    return f"{settings.application_id}/~backfill/{topic}/"


async def forget_backfills(settings: Settings, topic: str) -> None:
    """Make unknown what was backfilled into a topic that is no more."""
    prefix = backfill_prefix(settings, topic).encode()
    known = [key for key, value in (await latest_records(settings)).items() if value is not None and key.startswith(prefix)]
    if known:
        await _publish(settings, dict.fromkeys(known))


async def _publish(settings: Settings, records: dict[bytes, bytes | None]) -> None:
    async with command_writer(settings, "what is known of replays", "do it again") as writer:
        await writer.write({(REPLAYS, PARTITION): [(key, value, ()) for key, value in records.items()]})

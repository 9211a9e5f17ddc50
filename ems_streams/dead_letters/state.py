"""The topic `redrives`: what was asked for, how far each redrive is, and which letters are done."""

from collections.abc import Iterable, Mapping

from ems_streams.domain.events import decode
from ems_streams.domain.redrives import DoneIndex, DoneLetters, Redrive, RedriveDefinition, RedriveProgress
from ems_streams.errors import EmsError, MalformedError, NotFoundError, TopicsMissingError
from ems_streams.kafka.admin import missing_topics
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.catalogue import REDRIVES
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.settings import Settings

PARTITION = 0
TARGET = (REDRIVES, PARTITION)
_JOB = "job"
_DONE = "done"


class NoSuchRedriveError(NotFoundError):
    """There is no redrive of that id."""

    title = "No such redrive"


class RedriveState:
    """What the topic says now."""

    def __init__(self, latest: Mapping[bytes, bytes | None]) -> None:
        self.redrives: dict[str, Redrive] = {}
        self._done: dict[str, DoneIndex] = {}
        progress: list[tuple[str, int, RedriveProgress]] = []
        for key, value in latest.items():
            kind, *names = key.decode(errors="replace").split("/")
            if value is None:
                continue
            if kind == _JOB and len(names) == 1:
                self.redrives[names[0]] = Redrive(decode(RedriveDefinition, value))
            elif kind == _JOB:
                progress.append((names[0], int(names[1]), decode(RedriveProgress, value)))
            elif kind == _DONE:
                self.done_of(names[0]).add(int(names[1]), decode(DoneLetters, value))
        for redrive_id, partition, each in progress:
            if redrive_id in self.redrives:
                self.redrives[redrive_id].progress[partition] = each

    def done_of(self, topic: str) -> DoneIndex:
        """Which letters of a dead letter topic are done."""
        return self._done.setdefault(topic, DoneIndex())

    def redrive(self, redrive_id: str) -> Redrive:
        """A redrive; raises `NoSuchRedriveError`."""
        if redrive_id not in self.redrives:
            raise NoSuchRedriveError(f"there is no redrive {redrive_id!r}")
        return self.redrives[redrive_id]


async def read_state(settings: Settings) -> RedriveState:
    """All of the topic; raises `EmsError`, such as for a topic that is not there."""
    if await missing_topics(settings, [REDRIVES]):
        raise TopicsMissingError([REDRIVES])
    latest: dict[bytes, bytes | None] = {}
    async with positioned_consumer(settings) as consumer:
        async for _, records in read_ranges(consumer, await whole(consumer, REDRIVES)):
            for record in records:
                # Taken out and put in again, so that the order is that of the last records.
                latest.pop(record.key or b"", None)
                latest[record.key or b""] = record.value
    try:
        return RedriveState(latest)
    except MalformedError as error:
        raise EmsError(f"{REDRIVES} holds a record that cannot be read, of a newer release perhaps: {error}") from None


def definition_record(definition: RedriveDefinition) -> KeyValue:
    """The record of what was asked for."""
    return f"{_JOB}/{definition.redrive_id}".encode(), definition.encode(), ()


def progress_records(
    definition: RedriveDefinition, partition: int, progress: RedriveProgress, done: Iterable[DoneLetters], first: int
) -> list[KeyValue]:
    """The records of some more letters of a partition, which begin at an offset."""
    marks: list[KeyValue] = [
        (f"{_DONE}/{definition.topic}/{partition}/{first}/{definition.redrive_id}".encode(), each.encode(), ()) for each in done
    ]
    return [(f"{_JOB}/{definition.redrive_id}/{partition}".encode(), progress.encode(), ()), *marks]

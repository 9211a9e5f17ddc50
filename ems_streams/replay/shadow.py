"""A partition of a replay: what folds publish goes to the shadow's topics or nowhere, and how far it is becomes durable with it.

This is where side effects end. A fold of a replay can name any topic; only what is in the map is published, under the shadow's name, and
everything else is counted and dropped. No folds and no agents have to know that they are replayed.
"""

from collections.abc import Mapping
from typing import Any

from ems_streams.domain.replays import ReplayDefinition, ReplayProgress
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.kafka.batching import Headers
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DLT_SUFFIX, REPLAYS, SITE_PARTS
from ems_streams.kafka.partition_state import CompletionError, PartitionState
from ems_streams.replay.registry import PARTITION, progress_key
from ems_streams.replay.topics import shadow_parts_topic, shadow_topic
from tables.device_aggregates import Record


def shadow_topics(definition: ReplayDefinition) -> dict[str, str]:
    """Topics that a replay publishes, by the name that agents know them by."""
    application_id, name = definition.application_id, definition.name
    return {DEVICE_AGGREGATES: shadow_topic(application_id, name), SITE_PARTS: shadow_parts_topic(application_id, name)}


class ShadowPartition(PartitionState[Record]):
    """As `PartitionState`, publishing to the shadow only.

    Attributes:
        progress: As in memory; what is durable is on the topic `replays`.
    """

    def __init__(self, partition: int, *, definition: ReplayDefinition, progress: ReplayProgress, **options: Any) -> None:
        super().__init__(partition, **options)
        self._key = progress_key(definition, partition)
        self._topics: Mapping[str, str] = shadow_topics(definition)
        self._durable_progress = progress
        self._restore(progress)

    @property
    def progress(self) -> ReplayProgress:
        """How far it is, in memory."""
        return ReplayProgress(
            read=self.read, windows=self.windows, put_aside=self.put_aside, suppressed=dict(self._suppressed), finished=self.finished
        )

    def _restore(self, progress: ReplayProgress) -> None:
        self.read, self.windows, self.put_aside, self.finished = progress.read, progress.windows, progress.put_aside, progress.finished
        self._suppressed = dict(progress.suppressed)

    def publish(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int | None = None) -> None:
        """Publish to the shadow, in this very partition; what has no place there is counted and dropped."""
        target = self._topics.get(topic)
        if target is not None:
            self.windows += topic == DEVICE_AGGREGATES
            super().publish(target, key, value, headers)
            return
        self._suppressed[topic] = self._suppressed.get(topic, 0) + 1
        # Malformed records are for the live system to report; a record that a fold fails at may be one that only this replay's fold fails at.
        self.put_aside += topic.endswith(DLT_SUFFIX) and any(name == "dlt-attempts" and content != b"1" for name, content in headers)

    async def commit(self) -> None:
        """As in live, with the progress in the same transaction."""
        if not self.has_work and self.progress == self._durable_progress:
            return
        try:
            self.complete()
        except StateCodecError:
            raise
        except Exception as error:
            raise CompletionError(f"partition {self.partition} of {self.changelog}") from error
        progress = self.progress
        super().publish(REPLAYS, self._key, progress.encode(), partition=PARTITION)
        await super().commit()
        self._durable_progress = progress

    def rollback(self) -> None:
        """As in live; the progress goes back as well."""
        super().rollback()
        self._restore(self._durable_progress)

"""A Faust table whose partitions are written by the batch engine: declared once in `tables/`, used by one agent."""

from typing import Generic, TypeVar, cast

import faust
from faust.types import TP

from ems_streams.errors import EmsError
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.store import WRITE_BUFFER_BYTES, Store

S = TypeVar("S")


class PartitionNotReadyError(EmsError):
    """The partition is being recovered, or is not this worker's."""

    def __init__(self, table: str, partition: int) -> None:
        super().__init__(f"partition {partition} of table {table} is not ready on this worker")
        self.partition = partition


class StateTable(Generic[S]):
    """A table of states of type `S`, keyed by serial number as plain UTF-8.

    Keys and values are raw bytes to Faust (its own serializers are used in recovery and would expect JSON); the codec is ours.
    """

    def __init__(
        self, app: faust.App, name: str, codec: Codec[S], partitions: int, *, write_buffer_bytes: int = WRITE_BUFFER_BYTES
    ) -> None:
        self.name = name
        self.codec = codec
        self.partition_count = partitions
        self.faust_table = app.Table(name, partitions=partitions, key_type=bytes, value_type=bytes)
        self.partitions: dict[int, PartitionState[S]] = {}
        self.store.buffer_writes(write_buffer_bytes)

    @property
    def changelog(self) -> str:
        """Name of the changelog topic."""
        return str(self.faust_table.changelog_topic.get_topic_name())

    @property
    def store(self) -> Store:
        """The local store of all partitions of this worker."""
        return cast(Store, self.faust_table.data)

    def changelog_tp(self, partition: int) -> TP:
        """Changelog topic and partition."""
        return TP(self.changelog, partition)

    def partition_of(self, key: bytes) -> int:
        """Partition in which a key lives."""
        return partition_for(key, self.partition_count)

    def ready(self, key: bytes) -> PartitionState[S]:
        """The partition in which a key lives; raises `PartitionNotReadyError`."""
        number = self.partition_of(key)
        partition = self.partitions.get(number)
        if partition is None:
            raise PartitionNotReadyError(self.name, number)
        return partition

    def live(self, key: bytes) -> S | None:
        """The state of a key as folded so far, durable or not; raises `PartitionNotReadyError`."""
        return self.ready(key).get(key)

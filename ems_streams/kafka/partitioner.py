"""Which partition a key lives in: Kafka's default (murmur2), as the Java client and aiokafka compute it."""

from aiokafka.partitioner import murmur2


def partition_for(key: bytes, partitions: int) -> int:
    """Partition of a key among `partitions` partitions."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions

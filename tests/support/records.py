"""What is on topics, for tests that look at it."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


def consume(bootstrap: str, *topics: str) -> list[ConsumerRecord]:
    """Every committed record of topics, those of a partition in their order; waits for transactions that are under way, not for topics."""

    async def read() -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        await consumer.start()
        try:
            metadata = await consumer._client.fetch_all_metadata()
            tps = [TopicPartition(topic, number) for topic in topics for number in metadata.partitions_for_topic(topic) or ()]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            found: list[ConsumerRecord] = []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    found += batch
            return found
        finally:
            await consumer.stop()

    return asyncio.run(read())

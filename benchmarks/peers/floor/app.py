"""The floor: Kafka's C client and a JSON parser, no state at all. No Python program that reads these events is faster than this."""

import os
import signal

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from progress import Progress

stopping = False


def stop(*_):
    global stopping  # noqa: PLW0603 - a signal handler has nothing else to reach
    stopping = True


signal.signal(signal.SIGTERM, stop)
consumer = Consumer(
    {
        "bootstrap.servers": os.environ["BENCH_BROKER"],
        "group.id": os.environ["BENCH_RUN"],
        "enable.auto.commit": False,
        # With its defaults the client pauses for a second whenever its queue is full.
        "fetch.queue.backoff.ms": 2,
        "queued.min.messages": 200_000,
    }
)
topic = os.environ["BENCH_TOPIC"]
consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in consumer.list_topics(topic).topics[topic].partitions])
progress = Progress()
while not stopping:
    messages = consumer.consume(1000, 0.5)
    for message in messages:
        orjson.loads(message.value())
    progress.add(len(messages))
consumer.close()

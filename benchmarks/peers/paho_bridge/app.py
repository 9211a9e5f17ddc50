"""A careful bridge from well-kept clients: paho with manual acknowledgement, sent when Kafka has delivered the record."""

import os
import signal
import threading

import paho.mqtt.client as mqtt  # noqa: TID251 - the library is what is measured
from confluent_kafka import Producer

topic = os.environ["BENCH_TOPIC"]
producer = Producer(
    {
        "bootstrap.servers": os.environ["BENCH_BROKER"],
        "acks": "all",
        "linger.ms": 20,
        "batch.size": 256 * 1024,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 500_000,
    }
)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=os.environ["BENCH_RUN"], clean_session=False, manual_ack=True)
stopping = threading.Event()


def on_connect(client, *_):
    client.subscribe(os.environ["BENCH_MQTT_TOPICS"], qos=1)


def on_message(client, _userdata, message):
    message_id, qos = message.mid, message.qos

    def delivered(error, _record):
        if error is None:
            client.ack(message_id, qos)

    producer.produce(topic, message.payload, message.topic.split("/")[3], on_delivery=delivered)
    producer.poll(0)


client.on_connect = on_connect
client.on_message = on_message
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
client.connect("127.0.0.1", int(os.environ["BENCH_MQTT_PORT"]))
client.loop_start()
while not stopping.is_set():
    producer.poll(0.05)
producer.flush(10)
client.disconnect()
client.loop_stop()

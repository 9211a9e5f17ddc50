"""The work in Faust with what can be tuned without leaving it: raw bytes, orjson, uvloop, large produce requests, plain tables.

Windowed tables cost the most, so the window is a part of the key; windows are then never expired.
"""

import os

import faust
import orjson
from progress import Progress
from statistics_of_events import first, fold

app = faust.App(
    os.environ["BENCH_RUN"],
    broker="kafka://" + os.environ["BENCH_BROKER"],
    store="rocksdb://?driver=rocksdict",
    datadir=os.environ["BENCH_STATE"],
    topic_partitions=4,
    topic_replication_factor=1,
    producer_linger=0.05,
    producer_max_batch_size=256 * 1024,
    web_bind="127.0.0.1",
    web_host="127.0.0.1",
    web_port=int(os.environ["BENCH_PORT"]),
)

telemetry = app.topic(os.environ["BENCH_TOPIC"], key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
devices = app.Table("devices", default=dict, partitions=4, key_type=str)
minutes = app.Table("minutes", default=dict, partitions=4, key_type=str)
progress = Progress()


@app.agent(telemetry)
async def aggregate(values):
    async for value in values:
        event = orjson.loads(value)
        serial_number, metrics = event["serialNumber"], event["telemetryData"]
        device = devices[serial_number]
        devices[serial_number] = fold(device, metrics) if device else first(metrics)
        window = serial_number + "|" + event["timestamp"][:16]
        minute = minutes[window]
        minutes[window] = fold(minute, metrics) if minute else first(metrics)
        progress.add()

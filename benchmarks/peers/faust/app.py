"""The work in idiomatic Faust: a Record, an agent, a table per device, and a tumbling table relative to the event's own time."""

import os
from datetime import datetime, timedelta

import faust
from progress import Progress
from statistics_of_records import first, fold

app = faust.App(
    os.environ["BENCH_RUN"],
    broker="kafka://" + os.environ["BENCH_BROKER"],
    store="rocksdb://?driver=rocksdict",
    datadir=os.environ["BENCH_STATE"],
    topic_partitions=4,
    topic_replication_factor=1,
    web_bind="127.0.0.1",
    web_host="127.0.0.1",
    web_port=int(os.environ["BENCH_PORT"]),
)


class Metrics(faust.Record):
    powerKw: float  # noqa: N815 - as on the wire
    voltage: float
    current: float
    temperature: float
    efficiency: float


class Telemetry(faust.Record, coerce=True, serializer="json"):
    deviceId: int  # noqa: N815
    serialNumber: str  # noqa: N815
    siteId: int  # noqa: N815
    deviceType: str  # noqa: N815
    telemetryData: Metrics  # noqa: N815
    timestamp: datetime
    eventType: str  # noqa: N815


telemetry = app.topic(os.environ["BENCH_TOPIC"], key_type=str, value_type=Telemetry)
devices = app.Table("devices", default=dict, partitions=4)
minutes = app.Table("minutes", default=dict, partitions=4).tumbling(timedelta(minutes=1)).relative_to_field(Telemetry.timestamp)
progress = Progress()


@app.agent(telemetry)
async def aggregate(events):
    async for event in events:
        serial_number, metrics = event.serialNumber, event.telemetryData
        device = devices[serial_number]
        devices[serial_number] = fold(device, metrics) if device else first(metrics)
        minute = minutes[serial_number].value()
        minutes[serial_number] = fold(minute, metrics) if minute else first(metrics)
        progress.add()

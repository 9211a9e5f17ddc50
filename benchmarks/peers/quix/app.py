"""The work in Quix Streams: a stateful update per device, and a tumbling window with a reducer; at-least-once, defaults."""

import os
from datetime import datetime, timedelta

from progress import Progress
from quixstreams import Application
from statistics_of_events import first, fold

app = Application(
    broker_address=os.environ["BENCH_BROKER"],
    consumer_group=os.environ["BENCH_RUN"],
    auto_offset_reset="earliest",
    state_dir=os.environ["BENCH_STATE"],
    loglevel="WARNING",
)
progress = Progress()


def event_time_ms(value, headers, timestamp, timestamp_type):
    """The event's own time, which windows go by."""
    return int(datetime.fromisoformat(value["timestamp"]).timestamp() * 1000)


def aggregate(event, state):
    device = state.get("device")
    metrics = event["telemetryData"]
    state.set("device", fold(device, metrics) if device else first(metrics))
    progress.add()


telemetry = app.topic(os.environ["BENCH_TOPIC"], key_deserializer="str", value_deserializer="json", timestamp_extractor=event_time_ms)
stream = app.dataframe(telemetry)
stream = stream.update(aggregate, stateful=True)
stream = (
    stream.tumbling_window(timedelta(minutes=1), grace_ms=timedelta(minutes=1))
    .reduce(lambda minute, event: fold(minute, event["telemetryData"]), lambda event: first(event["telemetryData"]))
    .final()
)

if __name__ == "__main__":
    app.run()

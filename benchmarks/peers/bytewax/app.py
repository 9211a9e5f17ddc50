"""The work in Bytewax: a Kafka source, a stateful step per device, and a folded tumbling window by event time.

Run with `python -m bytewax.run app:flow -r DIRECTORY -s 10 -b 0`, after `python -m bytewax.recovery DIRECTORY 1`.
With `BENCH_OUTPUT` it reads to the end of the topic and writes what it has computed there.
"""

import json
import os
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
from bytewax.connectors.files import FileSink
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from progress import Progress
from statistics_of_events import first, fold

MINUTE = timedelta(minutes=1)
ALIGN_TO = datetime(2025, 1, 1, tzinfo=UTC)
output = os.environ.get("BENCH_OUTPUT")
progress = Progress()


class NowhereSink(DynamicSink):
    """Results stay in the state, as with the other peers."""

    def build(self, step_id, worker_index, worker_count):
        return _Nowhere()


class _Nowhere(StatelessSinkPartition):
    def write_batch(self, items):
        pass


def parse(message):
    progress.add()
    return message.key.decode(), orjson.loads(message.value)


def aggregate(state, event):
    metrics = event["telemetryData"]
    state = fold(state, metrics) if state else first(metrics)
    return state, ([state] if output else [])


def fold_minute(state, event):
    return fold(state, event["telemetryData"]) if state else first(event["telemetryData"])


def event_time(event):
    return datetime.fromisoformat(event["timestamp"])


def device_line(keyed):
    serial_number, state = keyed
    return "", json.dumps({"serialNumber": serial_number, "metrics": state})


def minute_line(keyed):
    serial_number, (window, state) = keyed
    start = ALIGN_TO + window * MINUTE
    return "", json.dumps({"serialNumber": serial_number, "windowStart": start.isoformat(), "metrics": state})


flow = Dataflow("work")
source = KafkaSource([os.environ["BENCH_BROKER"]], [os.environ["BENCH_TOPIC"]], tail=output is None, batch_size=1000)
events = op.map("parse", op.input("telemetry", flow, source), parse)
devices = op.stateful_flat_map("devices", events, aggregate)
clock = EventClock(ts_getter=event_time, wait_for_system_duration=MINUTE)
windower = TumblingWindower(length=MINUTE, align_to=ALIGN_TO)
minutes = win.fold_window("minutes", events, clock, windower, dict, fold_minute, lambda left, _: left, ordered=False)
if output:
    lines = op.merge("lines", op.map("device-lines", devices, device_line), op.map("minute-lines", minutes.down, minute_line))
    op.output("out", lines, FileSink(output))
else:
    op.output("devices-out", devices, NowhereSink())
    op.output("minutes-out", minutes.down, NowhereSink())

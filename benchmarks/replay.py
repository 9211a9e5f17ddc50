"""How fast a replay is, by partitions and processes: `python -m benchmarks.replay [--events N]`; prints one line of JSON per run.

Each device says five metrics every ten seconds of event time; the range is all of it. The time is that of the whole command: starting
Python, making topics and closing the last windows are in it. The CPU time is that of the replay's processes, without Kafka.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import Producer

from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.events import format_time
from ems_streams.kafka.partitioner import partition_for

DEVICES = 1_000
STEP_S = 10
RUNS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2))
"""Partitions, processes."""


def produce(bootstrap: str, topic: str, partitions: int, events: int, begin: datetime) -> datetime:
    """All events, in the order of their times; when the last one is."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "gzip", "queue.buffering.max.messages": 500_000}
    )
    targets = [(number, f"INV-{number:05d}", partition_for(f"INV-{number:05d}".encode(), partitions)) for number in range(DEVICES)]
    moment = begin
    for step in range(events // DEVICES):
        moment = begin + timedelta(seconds=STEP_S * step)
        time_ms, text = int(moment.timestamp() * 1000), format_time(moment)
        for number, serial, partition in targets:
            power = (step * 7 + number * 13) % 101 / 7
            value = (
                f'{{"deviceId":{number + 1},"serialNumber":"{serial}","siteId":{number % 20 + 1},"deviceType":"METER","telemetryData":'
                f'{{"powerKw":{power},"voltage":{230 + power / 9},"current":{power * 4.3},"temperature":{20 + power},"efficiency":0.97}},'
                f'"timestamp":"{text}","eventType":"DEVICE_TELEMETRY","messageId":"{serial}-{step}"}}'
            )
            producer.produce(topic, value, serial, partition, timestamp=time_ms)
        producer.poll(0)
    producer.flush()
    return moment


def command(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "ems_streams", *arguments], env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def cpu_of_children_s() -> float:
    """Of commands that have ended, with the processes that they had started; the servers are not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(bootstrap: str, directory: Path, partitions: int, processes: int, events: int) -> dict[str, object]:
    from confluent_kafka.admin import AdminClient

    environment = {
        **os.environ,
        "EMS_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "EMS_APPLICATION_ID": f"bench-{partitions}-{processes}",
        "EMS_PARTITIONS": str(partitions),
        "EMS_DATA_DIR": str(directory),
    }
    command(environment, "topics", "apply")
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=20)
    end = produce(bootstrap, "device-telemetry", partitions, events, begin)
    started_s, cpu_before_s = time.monotonic(), cpu_of_children_s()
    span = ("--from", format_time(begin), "--to", format_time(end))
    done = json.loads(command(environment, "replay", "start", "--into", "bench", *span, "--processes", str(processes), "--json"))
    took_s, cpu_s = time.monotonic() - started_s, cpu_of_children_s() - cpu_before_s
    client = AdminClient({"bootstrap.servers": bootstrap})
    topics = [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")]
    for future in client.delete_topics(topics).values():
        future.result(30)
    time.sleep(2)
    read = int(done["eventsRead"])
    return {
        "partitions": partitions,
        "processes": processes,
        "events": read,
        "windows": done["windows"],
        "seconds": round(took_s, 1),
        "eventsPerSecond": round(read / took_s),
        "cpuUsPerEvent": round(cpu_s / read * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument(
        "--runs", default=" ".join(f"{partitions}x{processes}" for partitions, processes in RUNS), help="partitions x processes"
    )
    arguments = parser.parse_args()
    runs = [tuple(map(int, each.split("x"))) for each in arguments.runs.split()]
    with tempfile.TemporaryDirectory(prefix="ems-replay-bench-") as directory:
        stack = EmbeddedStack(Path(directory) / "stack", Ports.free())
        asyncio.run(stack.start())
        try:
            for partitions, processes in runs:
                print(json.dumps(run(stack.kafka_bootstrap, Path(directory) / "data", partitions, processes, arguments.events)), flush=True)
        finally:
            asyncio.run(stack.stop())


if __name__ == "__main__":
    main()

"""`python -m tests.support.record_states`: what this release writes into its changelogs, for `tests/data/states/RELEASE.jsonl`.

Run it once for each release, before the release changes a stored form. It runs a system that uses everything that is stored.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition

from ems_streams import __version__
from ems_streams.dev.ports import Ports
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.kafka.catalogue import changelog_of
from ems_streams.kafka.partition_state import POSITION_KEY
from tests.support.mqtt_publish import publish
from tests.support.processes import Deployment, eventually, get
from tests.support.recorded_states import CODECS, DIRECTORY, KINDS, RecordedState, meaning_of, of_each_kind, write

_LIMITS = [{"serialNumber": "REC-1", "siteId": 1, "deviceId": 900001, "deviceType": "BATTERY", "limits": {"silenceTimeoutS": 30}}]
COMPLETE_WITHIN_S = 60.0


def main() -> None:
    """Run, record, say what there is."""
    directory = Path(tempfile.mkdtemp(prefix="ems-record-"))
    stack = EmbeddedStack(directory / "servers", Ports.free())
    asyncio.run(stack.start())
    deployed = Deployment(stack, directory / "data", "record")
    try:
        _use(deployed, directory)
        # Ticks close what is open, and commits make it durable.
        found = eventually(lambda: _complete(deployed), COMPLETE_WITHIN_S, "a record of each kind in KINDS")
    finally:
        deployed.stop()
        asyncio.run(stack.stop())
        shutil.rmtree(directory, ignore_errors=True)
    write(DIRECTORY / f"{__version__}.jsonl", found)
    kinds = sorted({each.kind for each in found})
    sys.stdout.write(f"{len(found)} records of {len(kinds)} kinds: {', '.join(f'{table} {version:#04x}' for table, version in kinds)}\n")


def _use(deployed: Deployment, directory: Path) -> None:
    devices = directory / "devices.json"
    devices.write_text(json.dumps(_LIMITS))
    deployed.extra |= {"EMS_FLAPPING_THRESHOLD": "2", "EMS_QUIET_DEVICE_S": "5"}
    for command in (("topics", "apply"), ("devices", "import", str(devices)), ("rules", "apply", "--builtin")):
        deployed.command(*command)
    deployed.command("maintenance", "set", "--device", "REC-1", "--for", "1h", "--reason", "recorded")
    for process in (deployed.ingress(), deployed.worker(), deployed.gateway()):
        process.wait_until_ready()
    # Two hours of event time in a minute, with devices that flap, are late and fail.
    load = ("--seed", "7", "--devices", "12", "--rate", "60", "--duration", "60", "--speed", "120", "--prefix", "REC-", "--sites", "2")
    devices_run = deployed.start("simulator", ["simulate", *load, "--faults", "flapping=0.5,late", "--commands"], 0, {})
    gateway = deployed.running[2].url
    serial = eventually(lambda: [each["serialNumber"] for each in get(f"{gateway}/api/v1/devices")[1].get("devices", ())], 60, "devices")[0]
    for limit in ("1", "2"):
        deployed.command("command", "send", serial, "SET_POWER_LIMIT", "--param", f"powerLimitKw={limit}", check=False)
    # One that nobody answers stays open.
    deployed.command("command", "send", "REC-1", "SET_POWER_LIMIT", "--param", "powerLimitKw=3", "--expires-in", "3600", check=False)
    # An alarm of each kind of end: one stays, one clears.
    for serial_number, *temperatures in (("REC-HOT", 65), ("REC-MENDED", 65, 20)):
        for temperature in temperatures:
            payload = {"temperature": temperature, "deviceType": "BATTERY"}
            asyncio.run(publish(deployed.stack.mqtt_url, f"sites/1/devices/{serial_number}/telemetry", json.dumps(payload).encode()))
    devices_run.popen.wait(300)


def _complete(deployed: Deployment) -> list[RecordedState]:
    """A few records of each kind, as soon as all kinds are there; says on the way which are missing."""
    found = [RecordedState(*each, meaning_of(CODECS[each[0]].decode(each[2]))) for each in _changelogs(deployed)]
    missing = {(table, version) for table, versions in KINDS.items() for version in versions} - {each.kind for each in found}
    if missing:
        sys.stderr.write(f"not there yet: {', '.join(f'{table} {version:#04x}' for table, version in sorted(missing))}\n")
        return []
    return of_each_kind(found)


def _changelogs(deployed: Deployment) -> Iterator[tuple[str, bytes, bytes]]:
    for table in CODECS:
        topic = changelog_of(deployed.application_id, table)
        consumer = Consumer(
            {
                "bootstrap.servers": deployed.stack.kafka_bootstrap,
                "group.id": "record",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        consumer.assign([TopicPartition(topic, number, 0) for number in range(deployed.partitions)])
        ends = 0
        while ends < deployed.partitions:
            for message in consumer.consume(1000, 0.5):
                error, key, value = message.error(), message.key(), message.value()
                if error is not None:
                    ends += error.code() == KafkaError._PARTITION_EOF
                elif key is not None and value is not None and key != POSITION_KEY:
                    yield table, key, value
        consumer.close()


if __name__ == "__main__":
    main()

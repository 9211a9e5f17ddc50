"""The ways from MQTT to Kafka that are measured beside our ingress."""

import sys

from benchmarks.environments import PEERS
from benchmarks.peers import Launch, Peer

MQTT_TOPICS = "sites/+/devices/+/telemetry"
BRIDGED_TOPIC = "bridged-telemetry"
ROOT = PEERS.parent.parent


def _ours_variables(launch: Launch, _instance: int) -> dict[str, str]:
    return {
        "EMS_KAFKA_BOOTSTRAP_SERVERS": launch.broker,
        "EMS_MQTT_URL": f"mqtt://127.0.0.1:{launch.ports[1]}",
        "EMS_MQTT_SHARE_GROUP": launch.run_id,
        "EMS_APPLICATION_ID": launch.run_id,
        "EMS_INGRESS_ID": launch.run_id,
        "EMS_INGRESS_PORT": str(launch.ports[0]),
        "EMS_PARTITIONS": "4",
        "EMS_DATA_DIR": str(launch.directory / "state"),
        "PYTHONPATH": str(ROOT),
    }


def _bridge_variables(launch: Launch, _instance: int) -> dict[str, str]:
    return {"BENCH_MQTT_PORT": str(launch.ports[1]), "BENCH_MQTT_TOPICS": MQTT_TOPICS}


def _python(name: str, title: str, setup: str, versions: str, home: str, more: dict[str, str] | None = None) -> Peer:
    return Peer(
        name,
        title,
        setup,
        versions,
        command=lambda launch, _instance: [str(launch.environments.python(home)), "app.py"],
        directory=PEERS / home,
        variables=lambda launch, instance: _bridge_variables(launch, instance) | (more or {}),
    )


BRIDGES: dict[str, Peer] = {
    bridge.name: bridge
    for bridge in (
        Peer(
            "ours",
            "EMS Streams ingress",
            "validated, with registry and dead letters; PUBACK after Kafka's acknowledgement",
            "this repository",
            command=lambda _launch, _instance: [sys.executable, "-m", "ems_streams", "ingress"],
            directory=ROOT,
            variables=_ours_variables,
            before=lambda _launch: [[sys.executable, "-m", "ems_streams", "topics", "apply"]],
        ),
        _python(
            "aiomqtt", "aiomqtt -> aiokafka", "PUBACK before Kafka: loses on a crash", "aiomqtt 2.5.1, aiokafka 0.14.0", "aiomqtt_bridge"
        ),
        _python(
            "aiomqtt-uvloop",
            "aiomqtt -> aiokafka, uvloop",
            "PUBACK before Kafka: loses on a crash",
            "aiomqtt 2.5.1, aiokafka 0.14.0, uvloop 0.23.0",
            "aiomqtt_bridge",
            {"BENCH_UVLOOP": "1"},
        ),
        Peer(
            "camel",
            "Apache Camel, paho -> kafka",
            "one route; whether a PUBACK waits for Kafka was not examined",
            "Camel 4.14.0",
            command=lambda launch, _instance: [
                launch.environments.java,
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Xmx512m",
                "-cp",
                launch.environments.class_path("camel"),
                "bench.camel.Bridge",
            ],
            directory=PEERS / "java",
            variables=_bridge_variables,
        ),
        _python(
            "paho",
            "paho, manual acknowledgement -> confluent-kafka",
            "PUBACK after the delivery report",
            "paho-mqtt 2.2.0, confluent-kafka 2.16.1",
            "paho_bridge",
        ),
        Peer(
            "floor",
            "floor: receive and acknowledge, no Kafka",
            "a socket and a parser by hand",
            "Python's standard library",
            command=lambda _launch, _instance: [sys.executable, "app.py"],
            directory=PEERS / "receive_floor",
            variables=_bridge_variables,
            same_work=False,
        ),
    )
}

"""Metrics of the way from MQTT into Kafka."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, SIZES, WORK_S, Label, Process

_INGRESS: Final = frozenset({Process.INGRESS})

MESSAGES: Final = DEFINITIONS.counter(
    "ems_ingress_messages_total",
    "MQTT messages that are safe in Kafka, by kind and outcome: `accepted`, `dead_letter`, or `ignored` (our own commands, deleted retained ones)",
    _INGRESS,
    Label.KIND,
    Label.OUTCOME,
)
RECEIVED_BYTES: Final = DEFINITIONS.counter("ems_ingress_received_bytes_total", "Payload bytes of these messages", _INGRESS)
BATCH_MESSAGES: Final = DEFINITIONS.histogram("ems_ingress_batch_messages", "Messages in a batch", _INGRESS, buckets=SIZES)
BATCH_SECONDS: Final = DEFINITIONS.histogram(
    "ems_ingress_batch_seconds",
    "From taking a batch to its acknowledgement to the broker, with all waiting for Kafka",
    _INGRESS,
    buckets=WORK_S,
)
REGISTERED_DEVICES: Final = DEFINITIONS.gauge("ems_registry_devices", "Devices in the registry", _INGRESS)
HEARTBEATS: Final = DEFINITIONS.counter("ems_ingress_heartbeats_total", "Heartbeats written, each into every partition", _INGRESS)

MQTT_CONNECTED: Final = DEFINITIONS.gauge("ems_mqtt_connected", "1 while there is a session with the MQTT broker", _INGRESS)
MQTT_CONNECTIONS: Final = DEFINITIONS.counter(
    "ems_mqtt_connections_total", "Connections made to the MQTT broker; each but the first is a reconnect", _INGRESS
)
MQTT_IN_FLIGHT: Final = DEFINITIONS.gauge(
    "ems_mqtt_in_flight_messages", "Messages received on this connection and not acknowledged yet", _INGRESS
)
MQTT_BUFFERED: Final = DEFINITIONS.gauge("ems_mqtt_buffered_messages", "Messages that wait to be taken into a batch", _INGRESS)
MQTT_BUFFERED_BYTES: Final = DEFINITIONS.gauge("ems_mqtt_buffered_bytes", "Payload bytes of these messages", _INGRESS)
MQTT_DROPPED: Final = DEFINITIONS.counter(
    "ems_mqtt_dropped_messages_total", "Messages of QoS 0 that were dropped since they came faster than Kafka takes them", _INGRESS
)

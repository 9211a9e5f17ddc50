"""The AsyncAPI 3.0 document: Kafka topics as the catalogue has them, MQTT topics, and the WebSocket."""

import re
from typing import Any, Final

from ems_streams import __version__
from ems_streams.kafka.catalogue import DLT_SUFFIX, Catalogue, Key, Topic
from ems_streams.schemas.events import EVENTS, event_schemas
from ems_streams.schemas.messages import DEAD_LETTER, DEAD_LETTER_HEADERS, WEBSOCKET_MESSAGES, WEBSOCKET_QUERY
from ems_streams.schemas.models import Schema
from ems_streams.schemas.mqtt import MQTT_CHANNELS, MQTT_SCHEMAS, PARAMETERS

PARTITIONS_DEFAULT: Final = 12
_APPLICATION: Final = "ems-streams"
_SERVERS: Final[Schema] = {
    "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "`EMS_KAFKA_BOOTSTRAP_SERVERS`."},
    "mqtt": {"host": "localhost:1883", "protocol": "mqtt", "protocolVersion": "5", "description": "`EMS_MQTT_URL`."},
    "gateway": {"host": "localhost:8080", "protocol": "ws", "description": "`EMS_GATEWAY_HOST` and `EMS_GATEWAY_PORT`."},
}
_INTRODUCTION: Final = """\
What EMS Streams sends and receives besides HTTP. Values are JSON with camelCase names and times in UTC; members that are null may be left out, and programs should expect \
members that they do not know. `send` and `receive` say what EMS Streams does."""


def asyncapi_document() -> Schema:
    """The document."""
    writer = _Writer()
    for topic in Catalogue(_APPLICATION, PARTITIONS_DEFAULT):
        # Changelogs and the like are memories of single processes, in forms of their own.
        if not topic.name.startswith(f"{_APPLICATION}-"):
            writer.kafka(topic)
    writer.mqtt()
    writer.websocket()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "EMS Streams", "version": __version__, "description": _INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": writer.channels,
        "operations": writer.operations,
        "components": {"schemas": writer.schemas, "messages": writer.messages},
    }


class _Writer:
    def __init__(self) -> None:
        self.channels: dict[str, Schema] = {}
        self.operations: dict[str, Schema] = {}
        self.messages: dict[str, Schema] = {}
        self.schemas: dict[str, Schema] = {
            **event_schemas(),
            **MQTT_SCHEMAS,
            **{name: schema for name, (schema, _) in WEBSOCKET_MESSAGES.items()},
        }

    def kafka(self, topic: Topic) -> None:
        """A topic: what EMS Streams writes to it, and what it reads of what others may write."""
        events = EVENTS.get(topic.name)
        if topic.name.endswith(DLT_SUFFIX):
            names = [self._message("DeadLetter", DEAD_LETTER, headers=DEAD_LETTER_HEADERS, content_type="application/octet-stream")]
        elif events is not None:
            names = [
                self._message(model.__name__, {"$ref": f"#/components/schemas/{model.__name__}"}, key=topic.key) for model in events.models
            ]
        else:
            # Of no use outside, and no JSON that is promised to stay.
            return
        channel: Schema = {
            "address": topic.name,
            "description": f"{topic.purpose[0].upper()}{topic.purpose[1:]}. Key: {topic.key.value}.",
            "servers": [{"$ref": "#/servers/kafka"}],
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": _configuration(topic), "bindingVersion": "0.5.0"}},
        }
        name = f"kafka.{topic.name}"
        self.channels[name] = channel
        self._operation(f"send.{name}", "send", name, f"Writes {topic.purpose}.")
        if events is not None and events.taken:
            self._operation(f"receive.{name}", "receive", name, f"Reads {topic.purpose}.")

    def mqtt(self) -> None:
        """The topics of devices."""
        for each in MQTT_CHANNELS:
            name = f"mqtt.{each.suffix.replace('/', '.')}"
            message = self._message(each.schema, {"$ref": f"#/components/schemas/{each.schema}"})
            self.channels[name] = {
                "address": "sites/{siteId}/devices/{serialNumber}/" + each.suffix,
                "description": each.text,
                "servers": [{"$ref": "#/servers/mqtt"}],
                "parameters": PARAMETERS,
                "messages": {message: {"$ref": f"#/components/messages/{message}"}},
            }
            self._operation(f"{each.action}.{name}", each.action, name, each.text)
            self.operations[f"{each.action}.{name}"]["bindings"] = {"mqtt": {"qos": each.qos, "bindingVersion": "0.2.0"}}

    def websocket(self) -> None:
        """The feed of notifications."""
        names = [
            self._message(name, {"$ref": f"#/components/schemas/{name}"}, title=text) for name, (_, text) in WEBSOCKET_MESSAGES.items()
        ]
        self.channels["websocket.notifications"] = {
            "address": "/ws/notifications",
            "description": "Notifications as they come, resumed exactly from a cursor.",
            "servers": [{"$ref": "#/servers/gateway"}],
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            "bindings": {"ws": {"method": "GET", "query": WEBSOCKET_QUERY, "bindingVersion": "0.1.0"}},
        }
        self._operation("send.websocket.notifications", "send", "websocket.notifications", "Sends what people are told.")

    def _operation(self, name: str, action: str, channel: str, summary: str) -> None:
        messages = [{"$ref": f"#/channels/{channel}/messages/{each}"} for each in self.channels[channel]["messages"]]
        self.operations[name] = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary, "messages": messages}

    def _message(
        self,
        name: str,
        payload: Any,
        *,
        key: Key | None = None,
        headers: Schema | None = None,
        content_type: str | None = None,
        title: str = "",
    ) -> str:
        schema = self.schemas.get(name, {})
        message: Schema = {"name": name, "title": title or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name), "payload": payload}
        if "description" in schema:
            message["summary"] = schema["description"]
        if content_type is not None:
            message["contentType"] = content_type
        if headers is not None:
            message["headers"] = headers
        if "examples" in schema:
            message["examples"] = [{"payload": each} for each in schema["examples"]]
        if key is Key.SERIAL_NUMBER or key is Key.SITE_ID:
            message["bindings"] = {"kafka": {"key": {"type": "string", "description": f"The {key.value}."}, "bindingVersion": "0.5.0"}}
        self.messages[name] = message
        return name


def _configuration(topic: Topic) -> Schema:
    config: Schema = {"cleanup.policy": topic.config["cleanup.policy"].split(",")}
    if topic.retention_ms is not None:
        config["retention.ms"] = topic.retention_ms
    return config

"""The AsyncAPI document is one, and has every topic, every MQTT topic and the WebSocket."""

import json
from typing import Any

import jsonschema_rs

from ems_streams.domain.device_topic import TopicKind
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.schemas.asyncapi import asyncapi_document
from ems_streams.schemas.events import EVENTS
from tests.support.openapi import Described, meta_schema

DOCUMENT = asyncapi_document()
BINARY_OR_PRIVATE = {"site-parts", "window-promotions", "replays", "redrives", "dead-letter-quarantine"}


def test_it_is_an_asyncapi_document() -> None:
    validator = jsonschema_rs.Draft7Validator(meta_schema("asyncapi-3.0.0.json"))
    assert [f"{list(error.instance_path)}: {error.message[:200]}" for error in validator.iter_errors(DOCUMENT)] == []


def test_a_mistake_in_it_would_be_noticed() -> None:
    validator = jsonschema_rs.Draft7Validator(meta_schema("asyncapi-3.0.0.json"))
    broken: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    broken["operations"]["send.kafka.device-status"]["action"] = "publish"
    assert not validator.is_valid(broken)


def test_every_topic_for_others_is_a_channel() -> None:
    topics = {topic.name for topic in Catalogue("x", 4) if not topic.name.startswith("x-")} - BINARY_OR_PRIVATE
    assert {channel["address"] for name, channel in DOCUMENT["channels"].items() if name.startswith("kafka.")} == topics


def test_what_others_may_write_is_received() -> None:
    received = {name.removeprefix("receive.kafka.") for name in DOCUMENT["operations"] if name.startswith("receive.kafka.")}
    assert received == {topic for topic, events in EVENTS.items() if events.taken}


def test_every_mqtt_topic_of_a_device_is_a_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert {f"sites/{{siteId}}/devices/{{serialNumber}}/{kind.value}" for kind in TopicKind} <= addresses
    assert "/ws/notifications" in addresses


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    for part in text.split('"$ref": "')[1:]:
        reference = part.partition('"')[0]
        assert Described(DOCUMENT)._resolved({"$ref": reference}) is not None, reference

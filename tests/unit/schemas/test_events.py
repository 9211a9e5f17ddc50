"""Schemas of events and of MQTT say what the code takes and gives."""

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.device_topic import DeviceTopic, TopicKind
from ems_streams.domain.events import AggregateEvent, StatusEvent
from ems_streams.domain.mqtt_payload import encode_command_ack, encode_status_report, encode_telemetry
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.schemas.events import EVENTS, event_documents
from ems_streams.schemas.examples import EXAMPLES
from ems_streams.schemas.mqtt import MQTT_SCHEMAS

MODELS = {model.__name__: model for each in EVENTS.values() for model in each.models}
DOCUMENTS = event_documents()
NOW_US = 1_770_000_000_000_000


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_example_of_an_event_is_one_for_its_model_and_its_schema(name: str) -> None:
    example = EXAMPLES[name]
    model = MODELS[name].model_validate_json(json.dumps(example))
    validator(DOCUMENTS[name]).validate(example)
    # What the model writes, without what is null, is what the schema says too.
    validator(DOCUMENTS[name]).validate(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_required_field_that_is_missing_is_noticed(name: str) -> None:
    for field in DOCUMENTS[name].get("required", ()):
        assert not validator(DOCUMENTS[name]).is_valid({key: value for key, value in EXAMPLES[name].items() if key != field}), field


def test_every_topic_of_events_is_in_the_catalogue() -> None:
    assert set(EVENTS) <= {topic.name for topic in Catalogue("x", 4)}
    assert set(EXAMPLES) == set(MODELS)


def test_docstrings_say_what_fields_are() -> None:
    assert DOCUMENTS["StatusEvent"]["properties"]["cause"]["description"].startswith("What of the status machine's inputs")
    assert DOCUMENTS["AggregateEvent"]["properties"]["energyKwh"]["description"].startswith("Net energy")
    assert "Attributes:" not in json.dumps(DOCUMENTS)


def test_an_event_may_leave_out_what_is_null_and_nothing_else() -> None:
    assert "energyKwh" not in DOCUMENTS["AggregateEvent"]["required"]
    assert {"eventId", "eventType", "metrics"} <= set(DOCUMENTS["AggregateEvent"]["required"])
    assert StatusEvent.model_fields["reason"].is_required()
    assert AggregateEvent.model_fields["energy_kwh"].default is None


class Registry:
    def get(self, serial_number: str) -> RegistryEntry | None:
        return RegistryEntry(device_id=1, serial_number=serial_number, site_id=7, device_type="METER")

    def learn(self, entry: RegistryEntry) -> None:
        raise AssertionError(entry)


ENCODERS = {"TelemetryPayload": (encode_telemetry, TopicKind.TELEMETRY), "StatusPayload": (encode_status_report, TopicKind.STATUS),
            "AckPayload": (encode_command_ack, TopicKind.ACK)}  # fmt: skip


def taken(name: str, payload: Any) -> bool:
    encode, kind = ENCODERS[name]
    try:
        encode(json.dumps(payload).encode(), DeviceTopic(7, "INV-001", kind), NOW_US, Directory(Registry(), provision_unknown=True))
    except MalformedError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_examples_of_payloads_are_taken(name: str) -> None:
    for example in MQTT_SCHEMAS[name]["examples"]:
        validator(MQTT_SCHEMAS[name]).validate(example)
        assert taken(name, example)


NAMES = st.sampled_from(
    [
        "powerKw",
        "status",
        "reason",
        "errorCode",
        "telemetryData",
        "messageId",
        "deviceId",
        "deviceType",
        "commandId",
        "result",
        "detail",
        "1st",
        "x" * 65,
        "",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -1.25]),
    st.sampled_from(["ONLINE", "DEAD", "COMPLETED", "a b", "METER", "", "c~1", "x" * 1001]),
)
PAYLOADS = st.dictionaries(NAMES, st.one_of(SCALARS, st.dictionaries(NAMES, SCALARS, max_size=3)), max_size=5)


@pytest.mark.parametrize("name", sorted(ENCODERS))
@given(payload=PAYLOADS)
def test_a_payload_is_taken_exactly_when_its_schema_allows_it(name: str, payload: dict[str, Any]) -> None:
    """Of what depends on the payload alone: the registry here takes every device as it says to be."""
    if isinstance(payload.get("deviceId"), int) and payload["deviceId"] != 1:
        return
    if isinstance(payload.get("deviceType"), str) and payload["deviceType"] != "METER":
        return
    assert taken(name, payload) == validator(MQTT_SCHEMAS[name]).is_valid(payload)


def test_times_in_schemas_are_times() -> None:
    assert DOCUMENTS["TelemetryEvent"]["properties"]["timestamp"]["format"] == "date-time"
    assert not validator(DOCUMENTS["TelemetryEvent"]).is_valid({**EXAMPLES["TelemetryEvent"], "timestamp": str(datetime.now(UTC))[:10]})

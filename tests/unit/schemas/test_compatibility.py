"""A change that breaks programs is named; one that does not is not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ems_streams.gateway.openapi.document import openapi_document
from ems_streams.gateway.server import described_application
from ems_streams.schemas.asyncapi import asyncapi_document
from ems_streams.schemas.compatibility import asyncapi_breaks, openapi_breaks
from ems_streams.schemas.schema_pair import Pair

Json = dict[str, Any]
Change = Callable[[Json], None]
OPENAPI = openapi_document(described_application())
ASYNCAPI = asyncapi_document()


def schema(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


def parameter(document: Json, path: str, name: str) -> Json:
    found: Json = next(each for each in document["paths"][path]["get"]["parameters"] if each.get("name") == name)
    return found


def test_a_document_is_compatible_with_itself() -> None:
    assert openapi_breaks(OPENAPI, copy.deepcopy(OPENAPI)) == []
    assert asyncapi_breaks(ASYNCAPI, copy.deepcopy(ASYNCAPI)) == []


BREAKS: dict[str, tuple[Change, str]] = {
    "path": (lambda it: it["paths"].pop("/api/v1/alarms"), "/api/v1/alarms: the path is gone"),
    "method": (
        lambda it: it["paths"]["/api/v1/maintenance-windows"].pop("post"), "POST /api/v1/maintenance-windows: the method is gone"),
    "field of an answer": (
        lambda it: schema(it, "DeviceView")["properties"].pop("lastSeen"),
        "GET /api/v1/devices: answer 200.devices[].lastSeen: the field is gone"),
    "field that may be absent": (
        lambda it: schema(it, "DeviceView")["required"].remove("latest"),
        "GET /api/v1/devices: answer 200.devices[].latest: the field may be absent now"),
    "field that may be null": (
        lambda it: schema(it, "DeviceView")["properties"].update(deviceId={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "GET /api/v1/devices: answer 200.devices[].deviceId: may be null now"),
    "type": (
        lambda it: schema(it, "DeviceView")["properties"].update(deviceId={"type": "string"}),
        "GET /api/v1/devices: answer 200.devices[].deviceId: may be string now"),
    "value of an enumeration": (lambda it: schema(it, "DeviceStatus")["enum"].remove("ERROR"), "GET /api/v1/devices: answer 200.devices[].status: the value 'ERROR' is gone"),
    "value of a parameter": (
        lambda it: parameter(it, "/api/v1/devices", "status")["schema"]["enum"].remove("ERROR"),
        "GET /api/v1/devices: query parameter status: the value 'ERROR' is gone"),
    "parameter": (
        lambda it: it["paths"]["/api/v1/devices"]["get"]["parameters"].remove(parameter(it, "/api/v1/devices", "site")),
        "GET /api/v1/devices: the query parameter site is gone"),
    "new required parameter": (
        lambda it: it["paths"]["/api/v1/sites"]["get"]["parameters"].append(
            {"name": "zone", "in": "query", "required": True, "schema": {"type": "string"}}),
        "GET /api/v1/sites: the query parameter zone is new and required"),
    "tighter bound": (
        lambda it: parameter(it, "/api/v1/devices", "limit")["schema"].update(maximum=50),
        "GET /api/v1/devices: query parameter limit: maximum is 50 now, and was 500"),
    "new required field of a body": (
        lambda it: schema(it, "CommandBody").update(required=["command", "requestedBy"]),
        "POST /api/v1/devices/{serial}/commands: body.requestedBy: the field is required now"),
    "field that is taken no more": (
        lambda it: schema(it, "CommandBody")["properties"].pop("expiresInS"),
        "POST /api/v1/devices/{serial}/commands: body.expiresInS: the field is gone"),
    "null that is taken no more": (
        lambda it: schema(it, "AcknowledgementBody")["properties"].update(comment={"type": "string"}),
        "POST /api/v1/alarms/{alarmId}/ack: body.comment: is taken no more as null"),
    "values of a body that are narrower": (
        lambda it: schema(it, "CommandBody")["properties"]["parameters"]["anyOf"][0].update(additionalProperties={"type": "number"}),
        "POST /api/v1/devices/{serial}/commands: body.parameters{}: is taken no more as any"),
    "values of an answer that may be anything": (
        lambda it: schema(it, "DeviceView")["properties"]["latest"].update(additionalProperties=True),
        "GET /api/v1/devices: answer 200.devices[].latest{}: may be any now"),
    "answer": (
        lambda it: it["paths"]["/api/v1/alarms/{alarmId}/ack"]["post"]["responses"].pop("202"),
        "POST /api/v1/alarms/{alarmId}/ack: the answer 202 is gone"),
    "header": (
        lambda it: it["paths"]["/api/v1/devices"]["get"]["responses"]["200"]["headers"].pop("Link"),
        "GET /api/v1/devices: answer 200: the header Link is gone"),
    "problem document": (
        lambda it: schema(it, "Problem")["properties"].pop("requestId"),
        "GET /api/v1/devices: answer 400.requestId: the field is gone"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_of_the_http_api_is_named(name: str) -> None:
    change, message = BREAKS[name]
    changed = copy.deepcopy(OPENAPI)
    change(changed)
    found = openapi_breaks(OPENAPI, changed)
    assert message in found, found[:5]


def test_each_alternative_of_a_schema_with_a_name_is_compared() -> None:
    """The second one of a union, too, that is referred to by its name."""
    first, second = ({"type": "object", "properties": {name: {"type": "string"}, "kind": {"const": name}}} for name in "ab")
    document = {"components": {"schemas": {"Either": {"oneOf": [first, second]}}}}
    changed = copy.deepcopy(document)
    changed["components"]["schemas"]["Either"]["oneOf"][1]["properties"].pop("b")
    either = {"$ref": "#/components/schemas/Either"}
    assert list(Pair(document, changed).read("it", either, either)) == ["it.b: the field is gone"]


def _add(document: Json) -> None:
    schema(document, "DeviceView")["properties"]["more"] = {"type": "string"}
    schema(document, "DeviceView")["required"].append("more")
    schema(document, "CommandBody")["properties"]["note"] = {"type": "string"}
    schema(document, "DeviceStatus")["enum"].append("ASLEEP")
    parameter(document, "/api/v1/devices", "limit")["schema"]["maximum"] = 1000
    document["paths"]["/api/v1/sites"]["get"]["parameters"].append({"name": "zone", "in": "query", "schema": {"type": "string"}})
    document["paths"]["/api/v1/more"] = {"get": {"responses": {}}}
    document["paths"]["/api/v1/alarms"]["get"]["responses"].pop("503")


def test_what_is_added_breaks_nothing() -> None:
    changed = copy.deepcopy(OPENAPI)
    _add(changed)
    assert openapi_breaks(OPENAPI, changed) == []


ASYNC_BREAKS: dict[str, tuple[Change, str]] = {
    "channel": (lambda it: it["channels"].pop("kafka.device-status"), "kafka.device-status: the channel is gone"),
    "address": (
        lambda it: it["channels"]["kafka.device-status"].update(address="status"),
        "kafka.device-status: the address was device-status and is status"),
    "field of an event": (
        lambda it: schema(it, "StatusEvent")["properties"].pop("sequence"), "kafka.device-status: StatusEvent.sequence: the field is gone"),
    "field of a message of the WebSocket": (
        lambda it: schema(it, "Notification")["properties"].pop("title"),
        "websocket.notifications: NotificationMessage.notification.title: the field is gone"),
    "new required field of what devices send": (
        lambda it: schema(it, "StatusPayload").update(required=["status", "reason"]),
        "mqtt.status: StatusPayload.reason: the field is required now"),
    "value that devices may send": (
        lambda it: schema(it, "StatusPayload")["properties"]["status"].update(enum=["ONLINE"]),
        "mqtt.status: StatusPayload.status: the value 'OFFLINE' is gone"),
    "message": (
        lambda it: it["channels"]["kafka.device-commands"]["messages"].pop("CancelRequest"),
        "kafka.device-commands: the message CancelRequest is gone"),
    "header of dead letters": (
        lambda it: it["components"]["messages"]["DeadLetter"]["headers"]["properties"].pop("dlt-stage"),
        "kafka.device-telemetry-dlt: DeadLetter.dlt-stage: the field is gone"),
    "operation": (lambda it: it["operations"].pop("receive.mqtt.status"), "receive.mqtt.status: the operation is gone"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASYNC_BREAKS)
def test_a_break_of_topics_and_messages_is_named(name: str) -> None:
    change, message = ASYNC_BREAKS[name]
    changed = copy.deepcopy(ASYNCAPI)
    change(changed)
    found = asyncapi_breaks(ASYNCAPI, changed)
    assert message in found, found[:5]

"""The OpenAPI document is one, has every route, and says of bodies what the code reads."""

import json
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web

from ems_streams.domain.command_requests import FIELDS
from ems_streams.gateway import alarms
from ems_streams.gateway.answers.alarms import AcknowledgementBody
from ems_streams.gateway.answers.bodies import MaintenanceWindowBody
from ems_streams.gateway.answers.commands import CommandBody
from ems_streams.gateway.openapi.describe import Says, describe, description_of
from ems_streams.gateway.openapi.document import UndescribedRouteError, openapi_document, operations_of
from ems_streams.gateway.server import described_application
from tests.support.openapi import Described, meta_schema

APPLICATION = described_application()
DOCUMENT = openapi_document(APPLICATION)
PROBLEM = {"type": "about:blank", "title": "x", "status": 404, "detail": "x", "instance": "/x", "requestId": "x"}


def test_it_is_an_openapi_document() -> None:
    validator = jsonschema_rs.Draft202012Validator(meta_schema("openapi-3.1.json"))
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_schema_of_it_is_one_and_every_reference_leads_somewhere() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}), name
    for reference in _references(DOCUMENT):
        assert Described(DOCUMENT)._resolved({"$ref": reference}) is not None, reference


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for each in part for found in _references(each)]
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for each in part.values() for found in _references(each)]
    return []


def test_every_route_is_described_or_is_a_page() -> None:
    operations = list(operations_of(APPLICATION))
    shown = {(each.method, each.path) for each in operations if not each.said.hidden}
    documented = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert shown == documented
    assert {each.path for each in operations if each.said.hidden}.isdisjoint(DOCUMENT["paths"])
    assert ("GET", "/api/v1/devices/{serial}") in documented


def test_a_route_of_which_nothing_is_said_is_noticed() -> None:
    async def forgotten(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/api/v1/forgotten", forgotten)])
    with pytest.raises(UndescribedRouteError, match="GET /api/v1/forgotten"):
        openapi_document(app)


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


def test_what_comes_before_handlers_is_described_everywhere() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            statuses = set(operation["responses"])
            assert "500" in statuses, path
            assert ("400" in statuses) is (path not in {"/livez", "/readyz", "/startupz", "/metrics"})
            assert {"403", "429"} <= statuses, path
            assert operation.get("security") == [] or "401" in statuses, path


def test_examples_of_bodies_are_what_the_schemas_allow() -> None:
    seen = 0
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = {**content["schema"], "components": DOCUMENT["components"]}
                jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(content["example"])
                seen += 1
    assert seen >= 6


def test_bodies_have_the_fields_that_are_read() -> None:
    assert {field.alias for field in CommandBody.model_fields.values()} == set(FIELDS)
    assert {field.alias for field in AcknowledgementBody.model_fields.values()} == alarms._FIELDS
    schema = MaintenanceWindowBody.model_json_schema()
    assert schema["required"] == ["endsAt"]


def test_a_bound_method_says_what_its_function_says() -> None:
    class Handlers:
        @describe("it", tag="devices", answers={200: Says("It.")})
        async def show(self, _: web.Request) -> web.Response:
            return web.Response()

    said = description_of(Handlers().show)
    assert said is not None
    assert said.summary == "it"
    assert description_of(lambda: None) is None


@pytest.mark.parametrize(
    ("method", "path", "status", "media", "body", "mistake"),
    [
        ("GET", "/api/v1/alarms/5f2b8c0e3a7d49f1b6e2c4d8a9f01735", 404, "application/problem+json", PROBLEM, None),
        ("GET", "/api/v1/alarms/5f2b8c0e3a7d49f1b6e2c4d8a9f01735", 404, "application/json", PROBLEM, "described is"),
        ("GET", "/api/v1/alarms/5f2b8c0e3a7d49f1b6e2c4d8a9f01735", 418, "application/problem+json", PROBLEM, "418 is not described"),
        ("PUT", "/api/v1/alarms", 200, "application/json", {}, "PUT /api/v1/alarms is not described"),
        ("GET", "/api/v1/nothing", 200, "application/json", {}, "is not described"),
        ("DELETE", "/api/v1/maintenance-windows/mw-1", 200, "application/json", {"windowId": "mw-1", "ended": True}, None),
        ("DELETE", "/api/v1/maintenance-windows/mw-1", 200, "application/json", {"windowId": "mw-1"}, "ended"),
        ("DELETE", "/api/v1/maintenance-windows/mw-1", 200, "application/json", {"windowId": "mw-1", "ended": True, "x": 1}, "'x'"),
        ("DELETE", "/api/v1/maintenance-windows/mw-1", 200, "application/json", {"windowId": 1, "ended": True}, "windowId"),
    ],
)
def test_answers_that_are_not_as_described_are_noticed(  # noqa: PLR0917 - a row of the table
    method: str, path: str, status: int, media: str, body: Any, mistake: str | None
) -> None:
    found = Described(DOCUMENT).problems(method, path, status, media, json.dumps(body).encode())
    assert not found if mistake is None else mistake in found[0]

"""The OpenAPI 3.1 document, made of the routes of an application and of what their handlers say of themselves."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ems_streams import __version__
from ems_streams.gateway.answers.base import Problem
from ems_streams.gateway.openapi.describe import Description, Parameter, description_of
from ems_streams.gateway.openapi.monitoring import MONITORING
from ems_streams.gateway.openapi.parameters import IF_NONE_MATCH, PATHS, REQUEST_ID, REQUEST_TIMEOUT, RESPONSE_HEADERS
from ems_streams.gateway.openapi.responses import ResponseWriter
from ems_streams.gateway.openapi.words import INTRODUCTION, TAGS
from ems_streams.schemas.models import Mode, Model, Schema, schemas_of

_VARIABLE: Final = re.compile(r"{(\w+)}")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Operation:
    """A route with what is said of it."""

    method: str
    path: str
    said: Description

    @property
    def name(self) -> str:
        """Unique, and stable as long as method and path are."""
        words = [part.strip("{}") if "{" not in part else "by-" + part.strip("{}") for part in self.path.split("/") if part]
        return "-".join((self.method.lower(), *(re.sub(r"\W+", "-", word) for word in words if word not in {"api", "v1"})))


class UndescribedRouteError(Exception):
    """A route of which nothing is said."""


def operations_of(app: web.Application) -> Iterator[Operation]:
    """Every route, HEAD aside, in the order of the application; raises `UndescribedRouteError`."""
    for route in app.router.routes():
        if route.resource is None or route.method == "HEAD":
            continue
        path = route.resource.canonical
        said = description_of(route.handler) or MONITORING.get(path)
        if said is None:
            raise UndescribedRouteError(f"{route.method} {path}: nothing is said of it; give its handler `@describe(...)`")
        yield Operation(route.method, path, said)


def openapi_document(app: web.Application) -> Schema:
    """The document of an application; raises `UndescribedRouteError`."""
    operations = [each for each in operations_of(app) if not each.said.hidden]
    references, definitions = schemas_of(_models(operations))
    paths: dict[str, Schema] = {}
    writer = ResponseWriter(references)
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, writer)
    used = {each.said.tag for each in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "EMS Streams",
            "version": __version__,
            "summary": "Live state of devices, windows, alarms, commands and notifications.",
            "description": INTRODUCTION,
        },
        "servers": [{"url": "/", "description": "This gateway."}],
        "security": [{"bearer": []}, {}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": writer.shared(),
            "headers": dict(RESPONSE_HEADERS),
            "parameters": {
                each.name: _parameter(each) for each in (REQUEST_ID, REQUEST_TIMEOUT, IF_NONE_MATCH)
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A static token, or a JWT. A gateway that asks for none listens on loopback only.",
                }
            },
        },
    }  # fmt: skip


def _models(operations: Iterable[Operation]) -> Iterator[tuple[Model, Mode]]:
    yield Problem, "serialization"
    for each in operations:
        if each.said.body is not None:
            yield each.said.body.model, "validation"
        for answer in each.said.answers.values():
            yield from ((model, "serialization") for model in answer.models)


def _operation(operation: Operation, writer: ResponseWriter) -> Schema:
    said = operation.said
    written: Schema = {"operationId": operation.name, "summary": said.summary[0].upper() + said.summary[1:], "tags": [said.tag]}
    if said.text:
        written["description"] = said.text
    if said.public:
        written["security"] = []
    written["parameters"] = list(_parameters(operation))
    if said.body is not None:
        content = {"application/json": {"schema": writer.references[said.body.model], "example": dict(said.body.example)}}
        written["requestBody"] = {
            "required": not said.body.optional, "description": f"At most {said.body.max_bytes:,} bytes.", "content": content
        }  # fmt: skip
    written["responses"] = writer.responses(said, changes=operation.method in _WRITES)
    return written


def _parameters(operation: Operation) -> Iterator[Schema]:
    for name in _VARIABLE.findall(operation.path):
        yield _parameter(PATHS[name])
    yield from (_parameter(each) for each in operation.said.parameters)
    yield {"$ref": "#/components/parameters/X-Request-Id"}
    if operation.method not in _WRITES and operation.said.checked:
        yield {"$ref": "#/components/parameters/Request-Timeout"}
    if operation.said.revalidated:
        yield {"$ref": "#/components/parameters/If-None-Match"}


def _parameter(parameter: Parameter) -> Schema:
    schema: Schema = dict(parameter.schema)
    written: Schema = {"name": parameter.name, "in": parameter.place, "description": parameter.text, "required": parameter.place == "path"}
    if parameter.repeated:
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 1000}
        written |= {"style": "form", "explode": not parameter.commas}
    written["schema"] = schema
    if parameter.example is not None:
        written["example"] = parameter.example
    return written

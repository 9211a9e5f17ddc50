"""Answers of a gateway held against its own OpenAPI document; what the document does not name is a mistake here, though programs must expect it."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

Json = dict[str, Any]
SCHEMAS = Path(__file__).parent / "schemas"


def meta_schema(name: str) -> Json:
    """A schema that documents are made by, of `tests/support/schemas`."""
    schema: Json = json.loads((SCHEMAS / name).read_text())
    return schema


def strict(schema: Any) -> Any:
    """The schema with no member allowed that it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object" and "propertyNames" not in made:
        made.setdefault("additionalProperties", False)
    return made


class Described:
    """A document that answers are held against."""

    def __init__(self, document: Json) -> None:
        self.document = document

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in self.document["paths"]]

    def problems(self, method: str, path: str, status: int, content_type: str, body: bytes) -> list[str]:
        """What of an answer is not as the document says; nothing when all is well."""
        template = self.document["paths"].get(path) and path
        template = template or next((known for pattern, known in self._paths if pattern.fullmatch(path)), None)
        if template is None:
            return [f"{path} is not described"]
        operation = self.document["paths"][template].get(method.lower())
        if operation is None:
            return [f"{method} {template} is not described"]
        answer = self._resolved(operation["responses"].get(str(status)))
        if answer is None:
            return [f"{method} {template}: {status} is not described: {body[:300]!r}"]
        content = answer.get("content", {})
        media = content_type.partition(";")[0].strip()
        if not content:
            return [f"{method} {template}: {status} has a body: {body[:80]!r}"] if body else []
        if media not in content:
            return [f"{method} {template}: {status} is {media!r}; described is {list(content)}"]
        return [] if not media.endswith("json") else self._mistakes(f"{method} {template}: {status}", content[media]["schema"], body)

    def _mistakes(self, where: str, schema: Json, body: bytes) -> list[str]:
        whole = {**strict(schema), "components": strict(self.document["components"])}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [
            f"{where}: {'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
            for error in validator.iter_errors(json.loads(body))
        ]

    def _resolved(self, part: Any) -> Any:
        while isinstance(part, dict) and "$ref" in part:
            target: Any = self.document
            for name in part["$ref"][2:].split("/"):
                target = target[name]
            part = target
        return part

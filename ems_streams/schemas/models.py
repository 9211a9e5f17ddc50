"""JSON Schema (2020-12) of pydantic models, with the words of their docstrings; the one place by which all documents are made."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
Model = type[BaseModel]

_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*)$")


class Generator(GenerateJsonSchema):
    """What pydantic says of a model, with what its docstring says of it and, under `Attributes:`, of its fields."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of a model."""
        described = super().model_schema(schema)
        model = schema["cls"]
        summary, attributes = words_of(model)
        if summary and "properties" in described:
            described["description"] = summary
        for name, field in model.model_fields.items():
            shown = described.get("properties", {}).get(field.serialization_alias or field.alias or name)
            if shown is not None:
                # Titles made of names say nothing that the names do not say.
                shown.pop("title", None)
                if name in attributes:
                    shown.setdefault("description", attributes[name])
        return described


def words_of(model: type) -> tuple[str, dict[str, str]]:
    """What the docstring of a model says of it, and what it and those of the models before it say of attributes."""
    attributes: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if each.__module__.startswith(("ems_streams", "agents", "tables")):
            attributes |= _attributes_of(inspect.cleandoc(each.__doc__ or ""))
    return inspect.cleandoc(model.__doc__ or "").split("\n\nAttributes:")[0].replace("\n", " ").strip(), attributes


def _attributes_of(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = None
    for line in text.partition("Attributes:")[2].splitlines():
        begun = _ATTRIBUTE.match(line)
        if begun is not None:
            name = begun[1]
            found[name] = begun[2]
        elif name is not None and line.startswith(" " * 8):
            found[name] += " " + line.strip()
    return found


class PublishedGenerator(Generator):
    """Of what is written whole: what has a default is there too."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Whether a member is always there."""
        return True if self.mode == "serialization" else super().field_is_required(field, total)


def schemas_of(
    models: Iterable[tuple[Model, Mode]], prefix: str = "#/components/schemas/", generator: type[Generator] = Generator
) -> tuple[Mapping[Model, Schema], dict[str, Schema]]:
    """A reference to each model, and the definitions of all models that these are made of, by name.

    Args:
        models: Each with what its schema is of: what is read (`validation`), or what is written (`serialization`).
        prefix: Where the document that they are for keeps its definitions.
        generator: What makes the schemas.
    """
    references, defined = models_json_schema(
        list(dict.fromkeys(models)), by_alias=True, ref_template=prefix + "{model}", schema_generator=generator
    )
    definitions: dict[str, Schema] = dict(sorted(defined.get("$defs", {}).items()))
    return {cast(Model, model): reference for (model, _), reference in references.items()}, definitions


def without_nulls(schema: Any) -> Any:
    """The schema of objects from which members that are null are left out: none of those is required."""
    if isinstance(schema, list):
        return [without_nulls(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # What OpenAPI calls a discriminator is another thing in AsyncAPI, and none in JSON Schema; the alternatives say the same.
    changed = {name: without_nulls(value) for name, value in schema.items() if name != "discriminator" or "mapping" not in value}
    properties = changed.get("properties")
    if isinstance(properties, dict) and isinstance(changed.get("required"), list):
        changed["required"] = [name for name in changed["required"] if not may_be_null(properties.get(name, {}))]
    return changed


def may_be_null(schema: Schema) -> bool:
    """Whether a schema, as pydantic writes them, says that null is a value."""
    return schema.get("type") == "null" or any(each.get("type") == "null" for each in schema.get("anyOf", ()))

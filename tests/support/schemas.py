"""Published schemas of other projects, kept in tests/data/schemas, and what a document has against them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"


def compose_faults(document: Any) -> list[str]:
    """What the Compose specification says against a file."""
    return _faults(_validator("compose-spec.json", ""), document)


def kubernetes_faults(manifest: Any) -> list[str]:
    """What Kubernetes 1.32 says against a manifest of one of its own kinds, strictly: fields that it does not know are wrong."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = f"io.k8s.api.{group.split('.')[0] or 'core'}.{version}.{manifest['kind']}"
    return _faults(_validator("kubernetes-1.32.json", kind), manifest)


@cache
def _validator(name: str, definition: str) -> Any:
    schema = json.loads((SCHEMAS / name).read_text())
    if definition:
        assert definition in schema["$defs"], f"{name} has no {definition}"
        schema["$ref"] = f"#/$defs/{definition}"
    return jsonschema_rs.validator_for(schema)


def _faults(validator: Any, document: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, error.instance_path))}: {re.sub(' +', ' ', error.message)[:200]}" for error in validator.iter_errors(document)
    ]

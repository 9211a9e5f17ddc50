"""`ems-streams schema`: the documents that describe the system, written into files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, print_json, print_table
from ems_streams.errors import UsageError

app = typer.Typer(help="Descriptions of the HTTP API, of topics and of events.", no_args_is_help=True)


class Format(StrEnum):
    """What is written."""

    OPENAPI = "openapi"
    ASYNCAPI = "asyncapi"
    JSON_SCHEMA = "json-schema"
    ALL = "all"


@app.callback()
def _schema() -> None:
    """Descriptions of the HTTP API, of topics and of events."""


@app.command("export")
def export(
    directory: Annotated[Path, typer.Option("--dir", help="Where to; made if it is not there.")],
    wanted: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.ALL,
    json_output: JsonOption = False,
) -> None:
    """Write the OpenAPI and AsyncAPI documents and the JSON Schema of each event; no server is needed."""
    written = [_write(directory / name, text) for name, text in documents(wanted).items()]
    if json_output:
        print_json({"directory": str(directory), "files": written})
    else:
        print_table(("FILE", "BYTES"), [(each["file"], f"{each['bytes']:,}") for each in written], right=("BYTES",))


def documents(wanted: Format = Format.ALL) -> dict[str, str]:
    """The documents as texts, by the names of their files."""
    found: dict[str, Any] = {}
    if wanted in {Format.OPENAPI, Format.ALL}:
        found["openapi.json"] = _openapi()
    if wanted in {Format.ASYNCAPI, Format.ALL}:
        from ems_streams.schemas.asyncapi import asyncapi_document

        found["asyncapi.json"] = asyncapi_document()
    if wanted in {Format.JSON_SCHEMA, Format.ALL}:
        from ems_streams.schemas.events import event_documents

        found |= {f"events/{name}.json": schema for name, schema in event_documents().items()}
    return {name: _text(document) for name, document in found.items()}


def _openapi() -> Any:
    from ems_streams.gateway.openapi.document import openapi_document
    from ems_streams.gateway.server import described_application

    return openapi_document(described_application())


def _text(document: Any) -> str:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _write(path: Path, text: str) -> dict[str, Any]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"--dir {path.parent}: cannot be written to: {error.strerror or error}") from None
    return {"file": str(path), "bytes": len(text.encode())}

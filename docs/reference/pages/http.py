"""http.md: every route of the gateway, with what its handler says of itself."""

from ems_streams.gateway.openapi.describe import Description
from ems_streams.gateway.openapi.document import operations_of
from ems_streams.gateway.openapi.responses import COMMON
from ems_streams.gateway.server import described_application

INTRODUCTION = """\
# HTTP of the gateway

Made from the routes of the gateway, as `/openapi.json` is, which has all of it; `/api.html` shows that, and tries it. How answers, errors, pages and headers work together is in
[the how-to](../howto/api.md); [who may ask for what](http-access.md) is a page of its own.

| route | answers | parameters | statuses | more |
|---|---|---|---|---|
"""
_COMMON = """
Any route may also answer with what comes from before its handler, 404 and 405 aside:

| status | when |
|---|---|
"""


def page() -> str:
    """The routes in Markdown, in the order of the application."""
    rows = [f"| `{each.method} {each.path}` | {_cells(each.said)} |\n" for each in operations_of(described_application())]
    return INTRODUCTION + "".join(rows) + _COMMON + "".join(f"| {status} | {each.text} |\n" for status, each in COMMON.items())


def _cells(said: Description) -> str:
    parameters = ", ".join(f"`{each.name}`" for each in said.parameters) + (", body" if said.body is not None and said.parameters else "")
    if said.body is not None and not said.parameters:
        parameters = "body"
    statuses = ", ".join(map(str, sorted({*said.answers, *said.problems})))
    return f"{said.summary} | {parameters} | {statuses} | {said.more}"

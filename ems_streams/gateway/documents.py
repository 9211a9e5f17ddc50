"""`/openapi.json` and `/asyncapi.json`, made once, and the page that shows the first of them."""

from typing import Final

import orjson
from aiohttp import web

from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.document import openapi_document
from ems_streams.gateway.openapi.words import OPERATION, PAGES
from ems_streams.gateway.pages import STATIC
from ems_streams.schemas.asyncapi import asyncapi_document

_MORE: Final = "[API](../howto/api.md)"


class Documents:
    """Handlers of the documents of one application, which has all its routes by the time that somebody asks."""

    def __init__(self) -> None:
        self._openapi: bytes | None = None
        self._asyncapi: bytes | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/openapi.json", self._show_openapi),
            web.get("/asyncapi.json", self._show_asyncapi),
            web.get("/api.html", _page),
        ]

    @describe("the OpenAPI document", tag=OPERATION, answers={200: Says("OpenAPI 3.1.")}, more=_MORE, public=True, revalidated=True)
    async def _show_openapi(self, request: web.Request) -> web.Response:
        if self._openapi is None:
            self._openapi = orjson.dumps(openapi_document(request.app))
        return _document(self._openapi)

    @describe("the AsyncAPI document", tag=OPERATION, answers={200: Says("AsyncAPI 3.0.")}, more=_MORE, public=True, revalidated=True)
    async def _show_asyncapi(self, _: web.Request) -> web.Response:
        if self._asyncapi is None:
            self._asyncapi = orjson.dumps(asyncapi_document())
        return _document(self._asyncapi)


@describe("the page of the API, to read and to try", tag=PAGES, hidden=True, more=_MORE)
async def _page(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "api-page.html", headers={"Cache-Control": "no-cache"})


def _document(body: bytes) -> web.Response:
    # The same until the next release: whoever has it need only ask whether it is.
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-cache"})

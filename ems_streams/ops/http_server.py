"""A runner whose answers to what is no HTTP at all are problem documents too; no handler and no middleware ever sees such a request."""

import uuid
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ems_streams.ops.problems import problem
from ems_streams.ops.request_ids import REQUEST_ID_HEADER

log = structlog.get_logger(__name__)

_TOLD_MAX: Final = 300


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        answer = super().handle_error(request, status, exc, message)
        if status < 500:
            # The parser's words name what is wrong, and quote no more than what was sent.
            detail = " ".join((message or str(exc)).split())[:_TOLD_MAX]
        else:
            detail = "The request failed inside the server; the log has more."
        request_id = uuid.uuid4().hex
        log.info("request could not be read", request_id=request_id, status=status, detail=detail)
        told = problem(status, HTTPStatus(status).phrase, detail, headers={REQUEST_ID_HEADER: request_id}, requestId=request_id)
        answer.force_close()
        told.force_close()
        return told


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class ProblemRunner(web.AppRunner):
    """An `AppRunner` that speaks of malformed requests as of any other error."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )

"""Errors as RFC 9457 problem documents: the one place where an error of ours becomes an answer over HTTP."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from ems_streams.domain.json_text import write_json
from ems_streams.errors import DependencyError, EmsError, MalformedError, NotFoundError, UsageError
from ems_streams.ops.request_ids import request_id

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"
AGAIN: Final = {"Retry-After": "5"}
_NO_STORE: Final = {"Cache-Control": "no-store"}


class ProblemError(Exception):
    """Raised in a handler to answer with a problem document; `error_middleware` turns it into the response."""

    def __init__(self, status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: Any) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers
        self.extensions = extensions


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    instance: str | None = None,
    type_: str = "about:blank",
    headers: Mapping[str, str] | None = None,
    **extensions: Any,
) -> web.Response:
    """An RFC 9457 problem document with the id of the request; `extensions` become further members of it."""
    body: dict[str, Any] = {"type": type_, "title": title, "status": status, "detail": detail}
    if instance is not None:
        body["instance"] = instance
    current = request_id()
    if current is not None:
        body["requestId"] = current
    body.update(extensions)
    return web.Response(
        status=status,
        # An address may have bytes that are no UTF-8.
        body=write_json(body),
        content_type=PROBLEM_CONTENT_TYPE,
        headers={**_NO_STORE, **(headers or {})},
    )


def problem_of(error: EmsError) -> ProblemError:
    """What an error means to whoever asked over HTTP.

    What is not there is a 404, what cannot be meant a 400; all else may be well the next time: a 503 with when to try again.
    """
    if isinstance(error, NotFoundError):
        return ProblemError(404, error.title, str(error))
    if isinstance(error, MalformedError):
        return ProblemError(400, "Bad request", error.detail)
    if isinstance(error, UsageError):
        return ProblemError(400, "Bad request", str(error))
    return ProblemError(503, "Kafka is away" if isinstance(error, DependencyError) else "Not done", str(error), headers=AGAIN)


def problem_of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """The problem document of an error that the web framework raises."""
    headers = {}
    more: dict[str, Any] = {}
    if error.status == 404:
        detail = f"There is nothing at {request.path}."
    elif isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not possible here; possible: {headers['Allow']}."
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = "The body is larger than anything that is expected here."
    else:
        detail = error.text or error.reason
    return problem(error.status, HTTPStatus(error.status).phrase, detail, instance=request.path, headers=headers, **more)

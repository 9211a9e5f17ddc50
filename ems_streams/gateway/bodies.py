"""Reading what clients send in the body of a request."""

from typing import Any

import orjson
from aiohttp import web

from ems_streams.domain.json_text import is_writable
from ems_streams.ops.http import ProblemError


async def json_object(request: web.Request, title: str, *, max_bytes: int, optional: bool = False) -> dict[str, Any]:
    """The JSON object in the body of a request; raises a problem of 413 or 400.

    Args:
        title: Of the problem of 400, such as `Bad command`.
        max_bytes: What says that it is larger is not read.
        optional: No body is an empty object.
    """
    if (request.content_length or 0) > max_bytes:
        raise ProblemError(413, "Too large", f"at most {max_bytes} bytes are expected")
    content = await request.read()
    # What comes in chunks does not say how large it is.
    if len(content) > max_bytes:
        raise ProblemError(413, "Too large", f"at most {max_bytes} bytes are expected")
    if optional and not content.strip():
        return {}
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ProblemError(400, title, f"the body is no JSON: {error}") from None
    if not is_writable(fields):
        raise ProblemError(400, title, "the body is nested too deeply: expected at most 250 levels")
    if not isinstance(fields, dict):
        raise ProblemError(400, title, "the body is expected to be a JSON object")
    return fields

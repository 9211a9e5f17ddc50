"""Health for probes, which have no token: which checks pass, and nothing of what they have seen."""

from typing import Any

import orjson
from aiohttp import web

_KEPT = frozenset({"ok", "status", "required"})


def without_details(response: web.StreamResponse) -> web.StreamResponse:
    """A report of health without what its checks say; anything else as it is."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    document = orjson.loads(response.body)
    checks: dict[str, Any] = document.get("checks", {})
    document["checks"] = {name: {key: value for key, value in check.items() if key in _KEPT} for name, check in checks.items()}
    response.body = orjson.dumps(document)
    response.headers.pop("EMS-Version", None)
    return response

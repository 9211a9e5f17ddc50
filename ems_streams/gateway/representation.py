"""How answers go over the wire: with an `ETag` where asking again is worth it, and compressed where that is."""

import asyncio
import re
import zlib
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from xxhash import xxh3_128_hexdigest

from ems_streams.gateway.openapi.describe import description_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.ops.http import Handler

COMPRESS_FROM_BYTES: Final = 1024
"""Of less the headers, the packet and the work cost as much as is saved."""
IN_THREAD_FROM_BYTES: Final = 32 * 1024
"""More would take a good part of a millisecond, for which the loop would stand still."""
_SHARED_S: Final = 0.5
_LEVEL: Final = 1
_GZIP_BITS: Final = 31
_COMPRESSIBLE: Final = re.compile(r"application/(?:[a-z.]+\+)?json|text/")
_AS_OF: Final = re.compile(rb'{"asOf":"[0-9TZ:.-]{20,27}"')


def representation() -> Middleware:
    """The middleware, for outside of `error_middleware`."""
    answers = _Answers()

    @web.middleware
    async def represent(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await answers.represent(request, await handler(request))

    return represent


class _Answers:
    """Equal answers within half a second are compressed once."""

    def __init__(self) -> None:
        self._compressed: SingleFlight[bytes] = SingleFlight(_SHARED_S, capacity=64)

    async def represent(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """The answer as it goes over the wire; files and streams are as they are."""
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            return response
        body = response.body
        if response.status == 200 and request.method in {"GET", "HEAD"}:
            described = description_of(request.match_info.handler)
            if described is not None and described.revalidated:
                tag = etag_of(body)
                response.headers[hdrs.ETAG] = f'W/"{tag}"'
                if is_known(request, tag):
                    return _not_modified(response)
        if len(body) >= COMPRESS_FROM_BYTES and _COMPRESSIBLE.match(response.content_type):
            await self._compress(request, response, body)
        return response

    async def _compress(self, request: web.Request, response: web.Response, body: bytes) -> None:
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        if hdrs.CONTENT_ENCODING in response.headers or not takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            return
        response.body = await self._compressed.get(body, lambda: _compress(body))
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"


def etag_of(body: bytes) -> str:
    """Of what an answer says, but for when the workers were asked, with which an answer may begin: it is another one every time."""
    begins = _AS_OF.match(body)
    return xxh3_128_hexdigest(body if begins is None else memoryview(body)[begins.end() :])


def is_known(request: web.Request, tag: str) -> bool:
    """Whether `If-None-Match` names it, compared weakly (RFC 9110, 13.1.2); what is no list of tags names nothing."""
    known = request.if_none_match
    return known is not None and any(each.value in {tag, "*"} for each in known)


def _not_modified(response: web.Response) -> web.Response:
    kept = {name: value for name, value in response.headers.items() if name not in {hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH}}
    return web.Response(status=304, headers={**kept, hdrs.VARY: hdrs.ACCEPT_ENCODING})


@lru_cache(maxsize=256)
def takes_gzip(accepted: str) -> bool:
    """Whether a client takes gzip (RFC 9110, 12.5.3): it is named, or anything is, and not with a weight of zero."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = re.fullmatch(r"\s*q\s*=\s*0(\.0{0,3})?\s*", weight) is None
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


async def _compress(body: bytes) -> bytes:
    if len(body) >= IN_THREAD_FROM_BYTES:
        return await asyncio.to_thread(_gzip, body)
    return _gzip(body)


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, wbits=_GZIP_BITS)

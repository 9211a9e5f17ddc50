"""What is counted of HTTP requests, and what the gateway's metrics say of the moment."""

import time
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from ems_streams.metrics import gateway as metrics
from ems_streams.ops.http import Handler

if TYPE_CHECKING:
    from ems_streams.gateway.server import Gateway

_NO_ROUTE = "none"


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: what it sees is what the client gets, but for a failure of the server itself."""
    began_s = time.monotonic()
    response = await handler(request)
    resource = request.match_info.route.resource
    # The pattern, never the path: there are as many paths as devices.
    route = _NO_ROUTE if resource is None else resource.canonical
    method = request.method if request.method in hdrs.METH_ALL else "other"
    metrics.REQUESTS.labels(method, route, response.status).inc()
    if not isinstance(response, web.WebSocketResponse):
        metrics.REQUEST_SECONDS.labels(route).observe(time.monotonic() - began_s)
    return response


def sample(gateway: "Gateway") -> None:
    """Set the gauges of a gateway, from memory."""
    ring, view = gateway.feed.ring, gateway.topology.view
    metrics.CLIENTS.set(gateway.socket.clients)
    metrics.FEED_HELD.set(0 if ring is None else ring.end - ring.start)
    metrics.WORKERS_LIVE.set(len(view.live))
    metrics.WORKERS_KNOWN.set(len(view.owners))
    metrics.PARTITIONS.set(view.partitions)
    metrics.PARTITIONS_ANSWERED.set(len(frozenset[int]().union(*(view.owners[url] for url in view.live))))
    metrics.HISTORY_AVAILABLE.set(not gateway.history.failure)

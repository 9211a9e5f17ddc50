"""Metrics of the gateway: HTTP, WebSocket, the feed of notifications, and the workers behind it."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, WORK_S, Label, Process

_GATEWAY: Final = frozenset({Process.GATEWAY})

REQUESTS: Final = DEFINITIONS.counter(
    "ems_http_requests_total", "HTTP requests answered, WebSockets when they end", _GATEWAY, Label.METHOD, Label.ROUTE, Label.STATUS
)
REQUEST_SECONDS: Final = DEFINITIONS.histogram(
    "ems_http_request_seconds", "Time to answer a request, without WebSockets", _GATEWAY, Label.ROUTE, buckets=WORK_S
)
DENIED: Final = DEFINITIONS.counter(
    "ems_http_denied_total",
    "HTTP requests that were not let in, by status: 401 without a valid token, 403, 404 of another site, 429 too often",
    _GATEWAY,
    Label.STATUS,
)
CLIENTS: Final = DEFINITIONS.gauge("ems_websocket_clients", "Clients connected to the WebSocket", _GATEWAY)
SENT_BYTES: Final = DEFINITIONS.counter("ems_websocket_sent_bytes_total", "Bytes of frames given to connections of clients", _GATEWAY)
SENT_MESSAGES: Final = DEFINITIONS.counter(
    "ems_websocket_sent_notifications_total", "Notifications given to connections of clients, each counted for each client", _GATEWAY
)
CLOSED: Final = DEFINITIONS.counter(
    "ems_websocket_closed_total",
    "Clients that are gone, by reason: `left` by themselves; `slow`: they did not take off what they were given, or fell behind; `silent`: they did "
    "not answer; `replaced`: the feed begins anew; `revoked`: their token counts no more; `kafka`: what they asked for could not be read; `stopping`: the gateway ends",
    _GATEWAY,
    Label.REASON,
)
FEED_HELD: Final = DEFINITIONS.gauge("ems_feed_held_notifications", "Notifications held in memory for clients", _GATEWAY)
FEED_ADDED: Final = DEFINITIONS.counter(
    "ems_feed_notifications_total", "Notifications read from Kafka, those of the start among them", _GATEWAY
)
WORKERS_LIVE: Final = DEFINITIONS.gauge("ems_gateway_workers_live", "Workers that answer", _GATEWAY)
WORKERS_KNOWN: Final = DEFINITIONS.gauge("ems_gateway_workers_known", "Workers that there are, as far as is known", _GATEWAY)
PARTITIONS_ANSWERED: Final = DEFINITIONS.gauge("ems_gateway_partitions_answered", "Partitions that a worker who answers has", _GATEWAY)
PARTITIONS: Final = DEFINITIONS.gauge("ems_gateway_partitions", "Partitions that there are; 0 before any worker has answered", _GATEWAY)
HISTORY_AVAILABLE: Final = DEFINITIONS.gauge(
    "ems_gateway_history_available", "0 when PostgreSQL did not answer the last question", _GATEWAY
)

# There from the start, at zero: the first one that is counted is seen.
for _reason in ("left", "slow", "silent", "replaced", "kafka", "stopping", "revoked"):
    CLOSED.labels(_reason)

"""`GET /api/v1/notifications`: the latest first, a page at a time, out of the same ring as the WebSocket."""

from datetime import UTC, datetime

import orjson
from aiohttp import web

from ems_streams.domain.events import format_time
from ems_streams.gateway.answers.operation import NotificationsPage
from ems_streams.gateway.cursors import decode_feed, encode_feed
from ems_streams.gateway.filters import Filter
from ems_streams.gateway.notifications import Feed
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.parameters import CURSOR, limit
from ems_streams.gateway.openapi.words import NOTIFICATIONS
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.parameters import cursor_of, limit_of
from ems_streams.gateway.ring import Ring
from ems_streams.gateway.security.asking import sites_of
from ems_streams.ops.http import ProblemError

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


def ring_of(feed: Feed) -> Ring:
    """The feed's ring; a 503 problem while it is still being read back."""
    if feed.ring is None:
        detail = f"The notifications are not read back yet: {feed.check().detail}."
        raise ProblemError(503, "Notifications are not ready", detail, headers={"Retry-After": "2"})
    return feed.ring


class NotificationList:
    """Pages are stable: what arrives meanwhile is before the first page, and moves nothing."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/notifications", self._list)]

    @describe(
        "the latest notifications, newest first",
        tag=NOTIFICATIONS,
        answers={200: Says("Notifications.", (NotificationsPage,))},
        parameters=(limit(DEFAULT_LIMIT, MAX_LIMIT), CURSOR),
        problems={503: "The notifications are not read back yet."},
        more="[notifications](../howto/notifications-over-websocket.md)",
    )
    async def _list(self, request: web.Request) -> web.Response:
        most = limit_of(request, DEFAULT_LIMIT, MAX_LIMIT)
        point = cursor_of(request, decode_feed)
        ring = ring_of(self._feed)
        # `cursor` is where the page begins: given to the WebSocket as `since`, it goes on exactly from there.
        point = ring.after if point is None else point
        visible = Filter(visible=sites_of(request))
        entries = ring.before(point, most + 1, visible)
        following = None
        if len(entries) > most:
            entries.pop()
            last = entries[-1]
            before_last = list(last.after)
            before_last[last.partition] = last.offset
            following = encode_feed(map(min, before_last, point))
        head = {"asOf": format_time(datetime.now(UTC)), "cursor": encode_feed(point), "nextCursor": following}
        items = b",".join(entry.payload for entry in entries)
        body = orjson.dumps(head)[:-1] + b',"notifications":[' + items + b"]}"
        return web.Response(
            body=body, content_type="application/json", headers={"Cache-Control": "no-store", **next_link(request, following)}
        )

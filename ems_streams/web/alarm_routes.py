"""Alarms on the worker's web, for the gateway: those in this worker's own partitions."""

from aiohttp import web

from ems_streams.domain.alarm_index import AlarmFilter, Place
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.web.limits import limit_of, sites_of
from ems_streams.web.live_alarms import LiveAlarms

LIMIT_DEFAULT = 100


def alarm_routes(alarms: LiveAlarms) -> list[web.RouteDef]:
    """`/internal/v1/alarms`, by the same filters as the gateway's, and one alarm."""

    async def page(request: web.Request) -> web.StreamResponse:
        return json_response(alarms.page(_filter_of(request), _place_of(request), limit_of(request, LIMIT_DEFAULT)))

    async def one(request: web.Request) -> web.StreamResponse:
        return json_response(alarms.find(request.match_info["alarmId"]))

    return [web.get("/internal/v1/alarms", page), web.get("/internal/v1/alarms/{alarmId}", one)]


def _filter_of(request: web.Request) -> AlarmFilter:
    query = request.query
    states, severities, site = query.get("state"), query.get("severity"), query.get("site")
    return AlarmFilter(
        states=None if states is None else frozenset(states.split(",")),
        sites=sites_of(site),
        severities=None if severities is None else frozenset(severities.split(",")),
        serial_number=query.get("serial"),
    )


def _place_of(request: web.Request) -> Place | None:
    """`after`: the place in the list behind which the page begins, as time and id."""
    after = request.query.get("after")
    if after is None:
        return None
    raised_ms, _, alarm_id = after.partition(":")
    return -_number(raised_ms, "after"), alarm_id


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ProblemError(400, "Bad Request", f"{name}={text!r}: must begin with a whole number")
    return int(text)

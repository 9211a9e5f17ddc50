"""Alarms over HTTP: `/api/v1/alarms`, one of them, and taking note of it."""

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from ems_streams.domain.alarm_index import AlarmFilter, Place
from ems_streams.domain.alarm_table import AlarmState
from ems_streams.domain.alarms import ALARM_ID, Acknowledgement
from ems_streams.domain.events import malformed
from ems_streams.gateway.alarm_fleet import AlarmFleet, Alarms, AlarmView, place_of
from ems_streams.gateway.answers.alarms import AcknowledgementBody, AlarmsPage
from ems_streams.gateway.answers.alarms import AlarmView as AlarmAnswer
from ems_streams.gateway.bodies import json_object
from ems_streams.gateway.cursors import decode_alarm, encode_alarm
from ems_streams.gateway.openapi.describe import Body, Says, describe
from ems_streams.gateway.openapi.parameters import CURSOR, SERIAL, SEVERITIES, SITE, STATES, limit
from ems_streams.gateway.openapi.words import ALARMS
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.parameters import alarm_filter_of, cursor_of, limit_of
from ems_streams.gateway.security.asking import author_of, note, principal_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.kafka.acknowledgements import publish_acknowledgement
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.settings import Settings

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
LIST_FRESH_S: Final = 0.5
BODY_MAX_BYTES: Final = 16 * 1024
_BAD: Final = "Bad acknowledgement"
DEFAULT_AUTHOR: Final = "api"
LOOK_AGAIN_S: Final = 0.05
_FIELDS: Final = frozenset({"by", "comment"})
_MORE: Final = "[alarms](../howto/alarms.md)"
_UNKNOWN: Final = {404: "There is no such alarm, or it has been over for long.", 503: "Not all partitions answer, or Kafka is away."}


class AlarmApi:
    """Handlers for alarms; equal questions for a list within half a second share one answer."""

    def __init__(self, settings: Settings, fleet: AlarmFleet) -> None:
        self._settings = settings
        self._fleet = fleet
        self._pages: SingleFlight[Alarms] = SingleFlight(LIST_FRESH_S, capacity=256)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/alarms", self._list),
            web.get("/api/v1/alarms/{alarmId}", self._one),
            web.post("/api/v1/alarms/{alarmId}/ack", self._acknowledge),
        ]

    @describe(
        "alarms, newest first",
        tag=ALARMS,
        answers={200: Says("Alarms.", (AlarmsPage,))},
        parameters=(STATES, SEVERITIES, SITE, SERIAL, limit(DEFAULT_LIMIT, MAX_LIMIT), CURSOR),
        problems={503: "No worker answers."},
        more=_MORE,
        revalidated=True,
    )
    async def _list(self, request: web.Request) -> web.Response:
        wanted = alarm_filter_of(request)
        limit = limit_of(request, DEFAULT_LIMIT, MAX_LIMIT)
        point = cursor_of(request, decode_alarm)
        after = None if point is None else (-point[0], point[1])
        page = await self._page(wanted, after, limit)
        alarms = page.alarms[:limit]
        following = None
        if len(page.alarms) > limit:
            place = place_of(alarms[-1])
            following = encode_alarm(-place[0], place[1])
        return json_response({**page.header(), "alarms": alarms, "nextCursor": following}, headers=next_link(request, following))

    async def _page(self, wanted: AlarmFilter, after: Place | None, limit: int) -> Alarms:
        # One more than asked for tells whether there is a next page.
        return await self._pages.get((wanted, after, limit), lambda: self._fleet.page(wanted, after, limit + 1))

    @describe("one alarm", tag=ALARMS, answers={200: Says("The alarm.", (AlarmAnswer,))}, problems=_UNKNOWN, more=_MORE, revalidated=True)
    async def _one(self, request: web.Request) -> web.Response:
        return json_response(await self._find(request))

    @describe(
        "the alarm, acknowledged",
        tag=ALARMS,
        body=Body(AcknowledgementBody, BODY_MAX_BYTES, {"by": "Ann", "comment": "On my way"}, optional=True),
        answers={
            200: Says("It is acknowledged.", (AlarmAnswer,)),
            202: Says("The acknowledgement is in Kafka, and no worker has shown it yet.", (AlarmAnswer,)),
        },
        problems=_UNKNOWN | {409: "The alarm is over."},
        more=_MORE,
    )
    async def _acknowledge(self, request: web.Request) -> web.Response:
        """Take note of an alarm; again, it is no other note. 202 says that Kafka has it, and no worker has shown it yet."""
        fields = await _body(request)
        alarm = await self._find(request)
        acknowledgement = _acknowledgement(alarm, {**fields, "by": author_of(request, fields.get("by", DEFAULT_AUTHOR))})
        note(request, serialNumber=alarm["serialNumber"], alarm=alarm.get("ruleId"))
        if alarm["state"] == AlarmState.RAISED:
            alarm = await self._publish(alarm, acknowledgement)
        if alarm["state"] == AlarmState.CLEARED:
            raise _already_cleared(alarm)
        return json_response(alarm, 200 if alarm["state"] == AlarmState.ACKNOWLEDGED else 202)

    async def _publish(self, alarm: AlarmView, acknowledgement: Acknowledgement) -> AlarmView:
        await publish_acknowledgement(self._settings, acknowledgement)
        give_up_at = time.monotonic() + self._settings.query_timeout_s
        while alarm["state"] == AlarmState.RAISED and time.monotonic() < give_up_at:
            await asyncio.sleep(LOOK_AGAIN_S)
            found = await self._fleet.find(alarm["alarmId"])
            alarm = found.alarms[0] if found.alarms else alarm
        return alarm

    async def _find(self, request: web.Request) -> AlarmView:
        """The alarm in the path; a problem of 404 when there is none or it is not for who asks, and of 503 when that cannot be known now."""
        alarm_id = request.match_info["alarmId"]
        if re.fullmatch(ALARM_ID, alarm_id) is None:
            raise ProblemError(404, "No such alarm", "No alarm can have such an id: expected 32 hexadecimal digits.")
        found = await self._fleet.find(alarm_id)
        if found.alarms and principal_of(request).may_see(found.alarms[0].get("siteId")):
            return found.alarms[0]
        if not found.complete:
            detail = "Some partitions do not answer, and no other one knows the alarm; try again."
            raise ProblemError(503, "Not all partitions answer", detail, headers={"Retry-After": "2"})
        raise ProblemError(404, "No such alarm", f"There is no alarm {alarm_id}, or it has been over for long.")


async def _body(request: web.Request) -> dict[str, Any]:
    fields = await json_object(request, _BAD, max_bytes=BODY_MAX_BYTES, optional=True)
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise ProblemError(400, _BAD, f"{unknown[0][:80]}: there is no such field; expected some of by, comment")
    return fields


def _acknowledgement(alarm: AlarmView, fields: dict[str, Any]) -> Acknowledgement:
    said = {"by": fields["by"], "comment": fields.get("comment")}
    try:
        return Acknowledgement(
            alarm_id=alarm["alarmId"],
            serial_number=alarm["serialNumber"],
            acknowledged_by=said["by"],
            comment=said["comment"],
            timestamp=datetime.now(UTC),
        )
    except ValidationError as error:
        detail = malformed(error).detail.replace("acknowledgedBy", "by", 1)
        raise ProblemError(400, _BAD, detail) from None


def _already_cleared(alarm: AlarmView) -> ProblemError:
    by = alarm.get("acknowledgedBy")
    noted = f" {by} had acknowledged it." if by else ""
    return ProblemError(409, "The alarm is over", f"It was cleared at {alarm['clearedAt']}: {alarm['clearedBecause']}.{noted}")

"""Dead letters over HTTP: `/api/v1/dlt` and below; reading only."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from aiohttp import web

from ems_streams.dead_letters.groups import Groups, group_view, grouped
from ems_streams.dead_letters.listing import show_letter
from ems_streams.dead_letters.reader import (
    NewestFirst,
    counts,
    is_dead_letter_topic,
    newest,
    ranges_of,
    topics_of,
)
from ems_streams.dead_letters.state import RedriveState, read_state
from ems_streams.dead_letters.views import STATES, state_of, summary_view
from ems_streams.domain.events import format_time
from ems_streams.domain.letter import LetterId
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.errors import UsageError
from ems_streams.gateway.answers.dead_letters import LettersPage, LetterTopics, LetterView
from ems_streams.gateway.cursors import decode_letters, encode_letters
from ems_streams.gateway.openapi.describe import Says, describe
from ems_streams.gateway.openapi.letters import FILTERS
from ems_streams.gateway.openapi.parameters import CURSOR, limit
from ems_streams.gateway.openapi.words import DEAD_LETTERS
from ems_streams.gateway.paging import next_link
from ems_streams.gateway.parameters import bad_parameter, cursor_of, limit_of, time_of
from ems_streams.gateway.single_flight import SingleFlight
from ems_streams.kafka.range_reader import NoSuchTopicError, positioned_consumer
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.settings import Settings

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
SCANNED_MAX: Final = 2_000
"""So many of the newest letters of a topic are looked at for its groups."""
PAGE_OFFSETS_MAX: Final = 10_000
PAGE_TIME_S: Final = 4.0
"""A filter that seldom matches ends a page after so much; it may then be short, or empty, and still have a next one."""
GROUPS_MAX: Final = 50
OVERVIEW_FRESH_S: Final = 2.0
DEADLINE_S: Final = 20.0
GROUPING: Final = ("error-class", "stage")
MORE: Final = "[dead letters](../howto/dead-letters.md)"
AWAY: Final = {503: "Kafka is away, or took too long."}
_NO_TOPIC: Final = "There is no such topic of dead letters."
_PARAMETERS: Final = {
    "errorClass": "error-class",
    "stage": "stage",
    "serial": "serial",
    "origin": "origin",
    "channel": "channel",
    "message": "message",
}


class DeadLetterApi:
    """Handlers that read the topics of dead letters; what they read, and for how long, has a bound however many letters there are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._overview: SingleFlight[dict[str, Any]] = SingleFlight(OVERVIEW_FRESH_S, capacity=1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/dlt", self._list),
            web.get("/api/v1/dlt/{topic}", self._page),
            web.get("/api/v1/dlt/{topic}/{partition}/{offset}", self._show),
        ]

    @describe(
        "topics that have dead letters, with their groups",
        tag=DEAD_LETTERS,
        answers={200: Says("Topics.", (LetterTopics,))},
        problems=AWAY,
        more=MORE,
    )
    async def _list(self, _: web.Request) -> web.Response:
        """Topics that have letters, with their groups; asked by many at once, it is read once."""
        return json_response(await answered(self._overview.get("all", self._read_overview)))

    async def _read_overview(self) -> dict[str, Any]:
        state = await read_state(self._settings)
        topics: list[dict[str, Any]] = []
        async with positioned_consumer(self._settings) as consumer:
            names = await topics_of(consumer)
            for topic, letters in (await counts(consumer, names)).items():
                if letters:
                    ranges = newest(await ranges_of(consumer, topic), SCANNED_MAX)
                    groups = await grouped(consumer, topic, ranges, GROUPING, done=state.done_of(topic), chosen=LetterFilter())
                    topics.append(_topic_view(topic, letters, sum(end - start for start, end in ranges.values()), groups))
        return {"asOf": format_time(datetime.now(UTC)), "topics": topics}

    @describe(
        "letters, newest first",
        tag=DEAD_LETTERS,
        answers={200: Says("Letters.", (LettersPage,))},
        parameters=(*FILTERS, limit(DEFAULT_LIMIT, MAX_LIMIT), CURSOR),
        problems=AWAY | {404: _NO_TOPIC},
        more=MORE,
    )
    async def _page(self, request: web.Request) -> web.Response:
        topic = topic_of(request)
        most = limit_of(request, DEFAULT_LIMIT, MAX_LIMIT)
        before = cursor_of(request, decode_letters)
        chosen = letter_filter_of(request)
        wanted = _state_of(request)
        page = await answered(self._read_page(topic, most, before, chosen, wanted), topic)
        return json_response(page, headers=next_link(request, page["nextCursor"]))

    async def _read_page(
        self, topic: str, most: int, before: tuple[int, ...] | None, chosen: LetterFilter, wanted: str | None
    ) -> dict[str, Any]:
        done = (await read_state(self._settings)).done_of(topic)
        until_s = time.monotonic() + PAGE_TIME_S
        found: list[dict[str, Any]] = []
        async with positioned_consumer(self._settings) as consumer:
            letters = NewestFirst(
                consumer, topic, await ranges_of(consumer, topic, chosen.since_ms), None if before is None else dict(enumerate(before))
            )
            while len(found) < most and letters.read < PAGE_OFFSETS_MAX and time.monotonic() < until_s:
                letter = await letters.take()
                if letter is None:
                    break
                known = done.of(letter)
                if chosen.matches(letter) and wanted in (None, state_of(known)):
                    found.append(summary_view(letter, known))
        place = letters.place
        following = None if letters.exhausted else encode_letters(place[number] for number in sorted(place))
        return {"topic": topic, "asOf": format_time(datetime.now(UTC)), "letters": found, "nextCursor": following}

    @describe(
        "one letter in full",
        tag=DEAD_LETTERS,
        answers={200: Says("The letter.", (LetterView,))},
        problems=AWAY | {404: "There is no such letter, or no longer."},
        more=MORE,
    )
    async def _show(self, request: web.Request) -> web.Response:
        topic = topic_of(request)
        text = f"{topic}/{request.match_info['partition']}/{request.match_info['offset']}"
        try:
            letter_id = LetterId.parse(text)
        except UsageError as error:
            raise ProblemError(404, "No such dead letter", str(error)) from None
        return json_response(await answered(show_letter(self._settings, letter_id), topic))


def topic_of(request: web.Request) -> str:
    """The topic in the path; one that cannot hold dead letters is a 404."""
    topic = request.match_info["topic"]
    if not is_dead_letter_topic(topic):
        raise ProblemError(
            404, "No such topic of dead letters", f"{topic[:249]!r} is no topic of dead letters; /api/v1/dlt has those that are."
        )
    return topic


async def answered(work: Awaitable[T], topic: str | None = None) -> T:
    """What was asked of Kafka, within the deadline; a 404 when the topic that was named is not there."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await work
    except TimeoutError:
        raise ProblemError(503, "Too slow", f"Kafka took longer than {DEADLINE_S:g} s.", headers={"Retry-After": "5"}) from None
    except NoSuchTopicError as error:
        if error.topic != topic:
            raise
        raise ProblemError(404, "No such topic of dead letters", str(error)) from None


async def state_of_redrives(settings: Settings) -> RedriveState:
    """What is known of redrives; raises `ProblemError`."""
    return await answered(read_state(settings))


def _topic_view(topic: str, letters: int, scanned: int, groups: Groups) -> dict[str, Any]:
    return {
        "topic": topic,
        # Distance of offsets, which counts markers of transactions too: a bound from above, until all was looked at.
        "letters": groups.letters if scanned >= letters else letters,
        "scanned": groups.letters,
        "complete": scanned >= letters,
        "open": sum(each.open for each in groups.found.values()),
        "groups": [group_view(each, GROUPING) for each in groups.largest()[:GROUPS_MAX]],
    }


def letter_filter_of(request: web.Request) -> LetterFilter:
    """The filter in a query such as `errorClass=invalid_json&errorClass=invalid_field&since=2026-01-31T12:00:00Z`."""
    where = {
        field: tuple(values) for name, field in _PARAMETERS.items() if (values := [text for text in request.query.getall(name, ()) if text])
    }
    return LetterFilter(where=where, since_ms=_epoch_ms_of(request, "since"), until_ms=_epoch_ms_of(request, "until"))


def _state_of(request: web.Request) -> str | None:
    text = request.query.get("state")
    if text and text not in STATES:
        raise bad_parameter("state", f"{text[:40]!r}: must be one of {', '.join(STATES)}")
    return text or None


def _epoch_ms_of(request: web.Request, name: str) -> int | None:
    moment = time_of(request, name)
    return None if moment is None else to_epoch_ms(moment)

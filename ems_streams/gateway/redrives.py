"""Redrives over HTTP: asked for with a POST, done in the background, watched by their id."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiohttp import web
from pydantic import ValidationError

from ems_streams.dead_letters.listing import plan_view
from ems_streams.dead_letters.planning import plan, prepare
from ems_streams.dead_letters.redrive import run
from ems_streams.dead_letters.views import redrive_view
from ems_streams.domain.events import malformed
from ems_streams.domain.letter import LetterId
from ems_streams.domain.letter_edit import Edit
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.redrives import Redrive, RedriveDefinition
from ems_streams.gateway.answers.dead_letters import RedrivePlan, Redrives, RedriveView
from ems_streams.gateway.bodies import json_object
from ems_streams.gateway.dead_letters import AWAY, MORE, answered, state_of_redrives, topic_of
from ems_streams.gateway.openapi.describe import Body, Says, describe
from ems_streams.gateway.openapi.words import DEAD_LETTERS
from ems_streams.gateway.redrive_bodies import RedriveBody, ResumeBody
from ems_streams.gateway.security.asking import note
from ems_streams.ops.http import ProblemError, json_response
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

BODY_MAX_BYTES: Final = 2 * 1024 * 1024
RUNNING_MAX: Final = 4
FAILURES_KEPT: Final = 100
DRY_RUN_S: Final = 10.0
"""A dry run that takes longer says what it has seen by then."""


class RedriveApi:
    """Handlers that begin and show redrives. One that is under way when the gateway ends is gone on with by `resume`, here or on the command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, Redrive] = {}
        self._failures: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/dlt/{topic}/redrive", self._begin),
            web.get("/api/v1/redrives", self._list),
            web.get("/api/v1/redrives/{redriveId}", self._show),
            web.post("/api/v1/redrives/{redriveId}/resume", self._resume),
        ]

    async def stop(self) -> None:
        """Leave what is under way where it is; nothing of it is lost, nor sent twice."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @describe(
        "the redrive that was begun, or what it would do",
        tag=DEAD_LETTERS,
        body=Body(RedriveBody, BODY_MAX_BYTES, {"filter": {"errorClass": "invalid_field"}, "dryRun": True}),
        answers={
            200: Says("What it would do: a dry run.", (RedrivePlan,)),
            202: Says("It was begun.", (RedriveView,), headers=("Location",)),
        },
        problems=AWAY | {404: "There is no such topic, or no such letter.", 409: "Another redrive of the topic is under way."},
        more=MORE,
    )
    async def _begin(self, request: web.Request) -> web.Response:
        topic = topic_of(request)
        body = await _body(request)
        definition = await answered(self._definition(topic, body), topic)
        if body.dry_run:
            return json_response(plan_view(topic, await plan(self._settings, definition, deadline_s=DRY_RUN_S)))
        note(request, redrive=definition.redrive_id, topic=topic)
        return self._start(Redrive(definition))

    async def _definition(self, topic: str, body: RedriveBody) -> RedriveDefinition:
        ids = None if body.ids is None else [LetterId.parse(text, topic) for text in body.ids]
        chosen = None if ids is None else set(ids)
        edits: dict[str, Edit] = {}
        for each in body.edits:
            if each.id is None:
                raise ProblemError(400, "Bad redrive", "edits: each is expected to have the id of its letter")
            letter_id = LetterId.parse(each.id, topic)
            if chosen is not None and letter_id not in chosen:
                raise ProblemError(400, "Bad redrive", f"edits: {each.id!r}: expected one of ids, which are the letters that are sent")
            place = f"{letter_id.partition}/{letter_id.offset}"
            if place in edits:
                raise ProblemError(400, "Bad redrive", f"edits: {each.id!r} is there twice: expected one edit of a letter")
            edits[place] = each.edit()
        edit = Edit() if body.edit is None else body.edit.edit()
        one_letter = chosen is not None and len(chosen) == 1
        if not one_letter and (edit.value is not None or edit.key is not None or edit.mqtt_topic is not None):
            raise ProblemError(
                400, "Bad redrive", "edit: a new value, key or topic is one letter's: give it in edits, with the letter's id"
            )
        return await prepare(
            self._settings,
            topic,
            chosen=LetterFilter() if body.filter is None else body.filter.chosen(),
            ids=ids,
            edit=edit,
            edits=edits,
            max_replays=body.max_replays,
            rate_per_s=body.rate_per_s,
            again=body.again,
        )

    @describe("redrives, and how far they are", tag=DEAD_LETTERS, answers={200: Says("Redrives.", (Redrives,))}, problems=AWAY, more=MORE)
    async def _list(self, _: web.Request) -> web.Response:
        return json_response({"redrives": await self._views()})

    @describe(
        "one redrive",
        tag=DEAD_LETTERS,
        answers={200: Says("The redrive.", (RedriveView,))},
        problems=AWAY | {404: "There is no such redrive."},
        more=MORE,
    )
    async def _show(self, request: web.Request) -> web.Response:
        redrive_id = request.match_info["redriveId"]
        found = next((view for view in await self._views() if view["redriveId"] == redrive_id), None)
        if found is None:
            raise ProblemError(404, "No such redrive", f"There is no redrive {redrive_id[:64]!r}.")
        return json_response(found)

    async def _views(self) -> list[dict[str, Any]]:
        # In this order: one that ends while the topic is read is still known to have run.
        ran = dict(self._running)
        state = await state_of_redrives(self._settings)
        return views(state.redrives, ran, self._running, self._failures)

    @describe(
        "an unfinished redrive, going on",
        tag=DEAD_LETTERS,
        text="The content type must be `application/json`, although the body says nothing: no form of another site can send that.",
        body=Body(ResumeBody, BODY_MAX_BYTES, {}, optional=True),
        answers={202: Says("It goes on.", (RedriveView,), headers=("Location",))},
        problems=AWAY | {404: "There is no such redrive.", 409: "Another redrive of the topic is under way."},
        more=MORE,
    )
    async def _resume(self, request: web.Request) -> web.Response:
        await json_object(request, "Bad redrive", max_bytes=BODY_MAX_BYTES, optional=True)
        state = await state_of_redrives(self._settings)
        return self._start(state.redrive(request.match_info["redriveId"]))

    def _start(self, redrive: Redrive) -> web.Response:
        """Begin in the background; the answer says where to look."""
        redrive_id, topic = redrive.definition.redrive_id, redrive.definition.topic
        if any(each.definition.topic == topic for each in self._running.values()):
            raise ProblemError(409, "Busy", f"A redrive of {topic} is under way; see /api/v1/redrives.", headers={"Retry-After": "5"})
        if len(self._running) >= RUNNING_MAX:
            raise ProblemError(409, "Busy", f"{RUNNING_MAX} redrives are under way here.", headers={"Retry-After": "10"})
        self._running[redrive_id] = redrive
        self._failures.pop(redrive_id, None)
        task = asyncio.create_task(self._run(redrive), name=f"redrive {redrive_id}")
        self._tasks[redrive_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(redrive_id, None))
        where = f"/api/v1/redrives/{redrive_id}"
        (begun,) = views({}, {}, {redrive_id: redrive}, {})
        return json_response(begun, 202, headers={"Location": where})

    async def _run(self, redrive: Redrive) -> None:
        redrive_id = redrive.definition.redrive_id
        try:
            done = await run(self._settings, redrive)
            log.info(
                "redriven", redrive_id=redrive_id, topic=redrive.definition.topic, **{str(name): n for name, n in done.outcomes.items()}
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asks for the redrive is told
            log.error("redrive_failed", redrive_id=redrive_id, topic=redrive.definition.topic, error=str(error) or repr(error))
            self._failures[redrive_id] = str(error) or repr(error)
            while len(self._failures) > FAILURES_KEPT:
                del self._failures[next(iter(self._failures))]
        finally:
            self._running.pop(redrive_id, None)


def views(
    stored: Mapping[str, Redrive], ran: Mapping[str, Redrive], runs: Mapping[str, Redrive], failures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Redrives as people see them, the newest first.

    Args:
        stored: What the topic says of them.
        ran: Those that ran here before the topic was read: of one that is over by now the end, or all of it, may not have been there yet.
        runs: Those that run here now.
        failures: Why the last run here ended, by id, if it did not end well.
    """
    newest = sorted({**ran, **runs, **stored}.items(), key=lambda item: item[1].definition.created_at, reverse=True)
    return [
        {
            **redrive_view(redrive),
            "state": _phase(redrive, ran=redrive_id in ran, runs=redrive_id in runs, failed=redrive_id in failures),
            "error": failures.get(redrive_id),
        }
        for redrive_id, redrive in newest
    ]


def _phase(redrive: Redrive, *, ran: bool, runs: bool, failed: bool) -> str:
    if runs:
        return "running"
    if redrive.finished:
        return "finished"
    if failed:
        return "failed"
    # Else it is under way elsewhere, such as on the command line, or waits for somebody to resume it.
    return "running" if ran else "unfinished"


async def _body(request: web.Request) -> RedriveBody:
    fields = await json_object(request, "Bad redrive", max_bytes=BODY_MAX_BYTES)
    try:
        body = RedriveBody.model_validate(fields)
    except ValidationError as error:
        raise ProblemError(400, "Bad redrive", malformed(error).detail) from None
    if (body.ids is None) == (body.filter is None):
        raise ProblemError(400, "Bad redrive", "expected either ids or filter; {} as filter is every letter")
    return body

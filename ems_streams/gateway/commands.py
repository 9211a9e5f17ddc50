"""Commands over HTTP: asked for, looked at, cancelled. What is wrong with one is said before anything is published."""

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from aiohttp import web

from ems_streams.domain.command_catalogue import CATALOGUE, CommandError, catalogue_view
from ems_streams.domain.command_events import CancelRequest, CommandRequest, command_id_of, serial_number_of
from ems_streams.domain.command_requests import EXPIRY, checked_key, checked_person, command_request, fingerprint_of
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.commands import begin, command_view
from ems_streams.domain.registry import RegistryEntry
from ems_streams.gateway.answers.commands import CancelBody, CommandBody, CommandCatalogue, CommandView, DeviceCommands
from ems_streams.gateway.bodies import json_object
from ems_streams.gateway.command_desk import CommandDesk
from ems_streams.gateway.forwarding import Forwarder
from ems_streams.gateway.openapi.describe import Body, Says, describe
from ems_streams.gateway.openapi.parameters import IDEMPOTENCY_KEY, REQUESTED_BY, TYPE, limit
from ems_streams.gateway.openapi.words import COMMANDS
from ems_streams.gateway.parameters import bad_parameter, limit_of
from ems_streams.gateway.parameters import serial_number_of as serial_number_in
from ems_streams.gateway.security.asking import address_of, author_of, note
from ems_streams.ops.http import ProblemError, json_response

BODY_MAX_BYTES: Final = 64 * 1024
_BAD: Final = "Bad command"
LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
ASK_AGAIN_S: Final = 0.03
ANONYMOUS: Final = "anonymous"
_COMMAND: Final = {200: Says("The command.", (CommandView,))}
_MORE: Final = "[commands](../howto/commands.md)"
_UNKNOWN: Final = {404: "There is no such command, or it is long over.", 503: "The worker that has the command does not answer."}

View = dict[str, Any]


class CommandsApi:
    """Handlers of `/api/v1/commands` and `/api/v1/devices/{serial}/commands`.

    Args:
        desk: Registry and topic.
        workers: Who knows how far a command is.
        seen_within_s: How long an answer waits until the workers know of the request.
    """

    def __init__(self, desk: CommandDesk, workers: Forwarder, seen_within_s: float) -> None:
        self._desk = desk
        self._workers = workers
        self._seen_within_s = seen_within_s

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/devices/{serial}/commands", self._request),
            web.get("/api/v1/devices/{serial}/commands", self._list),
            web.get("/api/v1/commands/{commandId}", self._show),
            web.post("/api/v1/commands/{commandId}/cancel", self._cancel),
            web.get("/api/v1/command-catalogue", self._catalogue),
        ]

    @describe(
        "the command that was asked for",
        tag=COMMANDS,
        text="The same key for the same thing is the same command, and 409 for anything else.",
        parameters=(IDEMPOTENCY_KEY, REQUESTED_BY),
        body=Body(CommandBody, BODY_MAX_BYTES, {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 40.0}, "expiresInS": 300}),
        answers={202: Says("It was asked for.", (CommandView,), headers=("Location", "Idempotency-Replayed"))},
        problems={
            404: "The registry has no such device.",
            409: "The key was used for something else.",
            422: "The device takes no such command, or not with these parameters; `field` and `limit` say what is wrong.",
            503: "Kafka is away, or the registry is being read.",
        },
        more=_MORE,
    )
    async def _request(self, request: web.Request) -> web.Response:
        """Ask for a command: 202 with its place. The same key for the same thing is the same command, and 409 for anything else."""
        entry = self._desk.device(serial_number_in(request))
        fields = await json_object(request, _BAD, max_bytes=BODY_MAX_BYTES)
        key = None
        try:
            key = _key_of(request, fields)
            by = _person_of(request, fields)
            wanted = command_request(
                fields,
                entry,
                idempotency_key=key or uuid.uuid4().hex,
                requested_by=by,
                requested_from=_from(request),
                now=datetime.now(UTC),
            )
        except CommandError as error:
            if key is not None and error.limit_of == EXPIRY and (view := await self._asked_before(fields, entry, key)) is not None:
                note(request, command=view["command"], commandId=view["commandId"], serialNumber=entry.serial_number)
                return _replayed(view)
            raise _refusal(error) from None
        note(request, command=str(wanted.command), commandId=wanted.command_id, serialNumber=wanted.serial_number)
        known = await self._known(wanted.command_id) if key else None
        if known is None:
            await self._desk.publish(wanted)
            view = await self._wait(wanted.command_id, lambda _: True)
            return _accepted(view, wanted, replayed=False)
        return _accepted(known, wanted, replayed=True)

    @describe(
        "commands of a device",
        tag=COMMANDS,
        answers={200: Says("Commands.", (DeviceCommands,))},
        parameters=(limit(LIMIT_DEFAULT, LIMIT_MAX),),
        problems={404: "The registry has no such device.", 503: "The worker that has the device does not answer."},
        more=_MORE,
    )
    async def _list(self, request: web.Request) -> web.Response:
        serial_number = serial_number_in(request)
        most = limit_of(request, LIMIT_DEFAULT, LIMIT_MAX)
        if self._desk.knows_nothing_of(serial_number):
            raise ProblemError(404, "No such device", f"The registry has no device {serial_number!r}.", serialNumber=serial_number)
        path = f"/api/v1/devices/{quote(serial_number, safe='')}/commands"
        return await self._workers.forward(serial_number, path, {"limit": str(most)})

    @describe("a command with its steps", tag=COMMANDS, answers=_COMMAND, problems=_UNKNOWN, more=_MORE)
    async def _show(self, request: web.Request) -> web.Response:
        command_id = request.match_info["commandId"]
        return await self._workers.forward(_device_of(command_id), _path(command_id), {})

    @describe(
        "the command, cancelled",
        tag=COMMANDS,
        parameters=(REQUESTED_BY,),
        body=Body(CancelBody, BODY_MAX_BYTES, {"requestedBy": "Ann"}, optional=True),
        answers={
            200: Says("It is cancelled.", (CommandView,)),
            202: Says("That it is to be cancelled is in Kafka, and no worker has shown it yet.", (CommandView,)),
        },
        problems=_UNKNOWN | {409: "It is sent, or over.", 422: "Nobody can have such a name."},
        more=_MORE,
    )
    async def _cancel(self, request: web.Request) -> web.Response:
        """Cancel what is not sent yet: 200, and 409 when it is."""
        command_id = request.match_info["commandId"]
        serial_number = _device_of(command_id)
        fields = await json_object(request, _BAD, max_bytes=BODY_MAX_BYTES, optional=True)
        known = await self._known(command_id, strict=True)
        if known is None:
            raise _no_such_command(command_id)
        try:
            by = _person_of(request, fields)
        except CommandError as error:
            raise _refusal(error) from None
        if known["status"] != CommandStatus.REQUESTED:
            return _cancelled(known)
        now = datetime.now(UTC)
        cancel = CancelRequest(
            command_id=command_id, serial_number=serial_number, requested_at=now, requested_by=by, requested_from=_from(request)
        )
        await self._desk.publish(cancel)
        view = await self._wait(command_id, lambda view: bool(view["status"] != CommandStatus.REQUESTED))
        return json_response(known, 202) if view is None else _cancelled(view)

    @describe(
        "what each type of device takes",
        tag=COMMANDS,
        answers={200: Says("Commands by type of device.", (CommandCatalogue,))},
        parameters=(TYPE,),
        more=_MORE,
    )
    async def _catalogue(self, request: web.Request) -> web.Response:
        device_type = request.query.get("type")
        if device_type is not None and device_type not in CATALOGUE:
            raise bad_parameter("type", f"{device_type[:64]!r}: must be one of {', '.join(CATALOGUE)}")
        return json_response({"deviceTypes": catalogue_view(device_type)})

    async def _asked_before(self, fields: View, entry: RegistryEntry, key: str) -> View | None:
        """The command of a key, if the same was asked for with it: what could be asked for then may expire too soon by now."""
        try:
            fingerprint = fingerprint_of(fields, entry)
        except CommandError:
            return None
        view = await self._known(command_id_of(entry.serial_number, key))
        return view if view is not None and view["fingerprint"] == fingerprint else None

    async def _known(self, command_id: str, *, strict: bool = False) -> View | None:
        """How far a command is; None when nobody knows it, or nobody answers, which is a problem when `strict`."""
        try:
            answer = await self._workers.forward(_device_of(command_id), _path(command_id), {})
        except ProblemError:
            if strict:
                raise
            return None
        if answer.status == 200 and isinstance(answer.body, bytes):
            view: View = orjson.loads(answer.body)
            return view
        if strict and answer.status != 404:
            raise ProblemError(
                503, "No answer", "The worker that has the command does not answer at the moment.", headers={"Retry-After": "2"}
            )
        return None

    async def _wait(self, command_id: str, enough: Callable[[View], bool]) -> View | None:
        """The command as soon as the workers know enough of it; None when that takes too long."""
        give_up_at = time.monotonic() + self._seen_within_s
        while time.monotonic() < give_up_at:
            view = await self._known(command_id)
            if view is not None and enough(view):
                return view
            await asyncio.sleep(ASK_AGAIN_S)
        return None


def _accepted(view: View | None, wanted: CommandRequest, *, replayed: bool) -> web.Response:
    if view is not None and view["fingerprint"] != wanted.fingerprint:
        detail = f"The key {wanted.idempotency_key!r} was used for something else: {view['command']} with {view['parameters']}."
        raise ProblemError(
            409, "Idempotency key in use", detail, field="Idempotency-Key", value=wanted.idempotency_key, commandId=wanted.command_id
        )
    if view is not None and replayed:
        return _replayed(view)
    return json_response(view or command_view(begin(wanted)[0]), 202, headers={"Location": _path(wanted.command_id)})


def _replayed(view: View) -> web.Response:
    return json_response(view, 202, headers={"Location": _path(view["commandId"]), "Idempotency-Replayed": "true"})


def _cancelled(view: View) -> web.Response:
    if view["status"] == CommandStatus.CANCELLED:
        return json_response(view)
    over = "it is over" if view["final"] else "MQTT takes nothing back, so the device may have it"
    detail = f"The command is {view['status']}: {over}."
    raise ProblemError(409, "Cannot be cancelled", detail, commandId=view["commandId"], commandStatus=view["status"])


def _refusal(error: CommandError) -> ProblemError:
    more: dict[str, Any] = {name: value for name, value in (("limit", error.limit), ("limitOf", error.limit_of)) if value is not None}
    return ProblemError(422, "Command refused", str(error), field=error.field, value=error.value, expected=error.expected, **more)


def _no_such_command(command_id: str) -> ProblemError:
    return ProblemError(404, "No such command", f"There is no command {command_id[:160]!r}, or it is long over.")


def _device_of(command_id: str) -> str:
    serial_number = serial_number_of(command_id)
    if serial_number is None:
        raise _no_such_command(command_id)
    return serial_number


def _path(command_id: str) -> str:
    return f"/api/v1/commands/{quote(command_id, safe='~')}"


def _from(request: web.Request) -> str:
    return f"{address_of(request) or 'unknown address'} by HTTP"


def _key_of(request: web.Request, fields: View) -> str | None:
    """The idempotency key of header or body, if there is one."""
    header, field = request.headers.get("Idempotency-Key"), fields.get("idempotencyKey")
    if header is not None and field is not None and header != field:
        raise CommandError("idempotencyKey", field, f"the header Idempotency-Key says {header[:128]!r}")
    if header is not None:
        return checked_key(header, "Idempotency-Key")
    return None if field is None else checked_key(field, "idempotencyKey")


def _person_of(request: web.Request, fields: View) -> str:
    header = request.headers.get("X-Requested-By")
    if header is not None:
        header = checked_person(header, "X-Requested-By")
    named = author_of(request, fields.get("requestedBy", header))
    return ANONYMOUS if named is None else checked_person(named, "requestedBy")

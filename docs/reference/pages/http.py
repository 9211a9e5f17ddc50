"""http.md: every route of the gateway, as its application has them, with what this file says of each."""

import asyncio
from collections.abc import Iterable
from typing import cast

from aiohttp import ClientSession

from ems_streams.gateway.server import Gateway
from ems_streams.settings import Settings

INTRODUCTION = """\
# HTTP of the gateway

Made from the routes of the gateway. Answers are JSON, errors are problem documents (RFC 9457) that name the parameter, the value and what is expected. `limit` and
`cursor` page through a list: the next cursor is in the answer. What is known to no worker and no store answers 404, what cannot be known now 503. [Who may ask for what](http-access.md) is a page of its own.

| route | answers | parameters | more |
|---|---|---|---|
"""
_HISTORY_PARAMETERS = "`window`, `from`, `to`, `limit`, `cursor`"
_STATUS = "[status](../howto/status.md)"
_WINDOWS = "[history](../howto/history.md)"
_SOCKET = "[notifications](../howto/notifications-over-websocket.md)"
_ALARMS = "[alarms](../howto/alarms.md)"
_MAINTENANCE = "[maintenance](../howto/status.md#maintenance)"
_LETTERS = "[dead letters](../howto/dead-letters.md)"
_COMMANDS = "[commands](../howto/commands.md)"
_SECURITY = "[who may](../howto/security-gateway.md)"
_HEALTH = "[health](../howto/health.md)"

WORDS: dict[str, tuple[str, str, str]] = {
    "GET /api/v1/devices": ("devices, by serial number", "`site`, `status`, `limit`, `cursor`", _STATUS),
    "GET /api/v1/devices/{serial}": ("live state of a device", "", _STATUS),
    "GET /api/v1/devices/{serial}/aggregates": ("its statistics, or its windows, live and from history", _HISTORY_PARAMETERS, _WINDOWS),
    "GET /api/v1/sites": ("sites, with how many devices have which status", "", _STATUS),
    "GET /api/v1/sites/{siteId}": ("one site", "", _STATUS),
    "GET /api/v1/sites/{siteId}/aggregates": ("windows of a site, live and from history", _HISTORY_PARAMETERS, _WINDOWS),
    "GET /api/v1/notifications": ("the latest notifications, newest first", "`limit`, `cursor`", _SOCKET),
    "GET /ws/notifications": (
        "a WebSocket with notifications as they come",
        "`since`, `site`, `device`, `severity`, `kind`, `heartbeat`",
        _SOCKET,
    ),
    "GET /api/v1/alarms": ("alarms, newest first", "`state`, `severity`, `site`, `serial`, `limit`, `cursor`", _ALARMS),
    "GET /api/v1/alarms/{alarmId}": ("one alarm", "", _ALARMS),
    "POST /api/v1/alarms/{alarmId}/ack": ("the alarm, acknowledged", "", _ALARMS),
    "GET /api/v1/maintenance-windows": ("windows that are or will be", "`all`", _MAINTENANCE),
    "POST /api/v1/maintenance-windows": ("the window that was set", "", _MAINTENANCE),
    "DELETE /api/v1/maintenance-windows/{windowId}": ("the window, ended", "", _MAINTENANCE),
    "GET /api/v1/dlt": ("topics that have dead letters, with their groups", "", _LETTERS),
    "GET /api/v1/dlt/{topic}": ("letters, newest first", "filters, `limit`, `cursor`", _LETTERS),
    "GET /api/v1/dlt/{topic}/{partition}/{offset}": ("one letter in full", "", _LETTERS),
    "POST /api/v1/dlt/{topic}/redrive": ("the redrive that was begun, or what it would do", "", _LETTERS),
    "GET /api/v1/redrives": ("redrives, and how far they are", "", _LETTERS),
    "GET /api/v1/redrives/{redriveId}": ("one redrive", "", _LETTERS),
    "POST /api/v1/redrives/{redriveId}/resume": ("an unfinished redrive, going on", "", _LETTERS),
    "POST /api/v1/devices/{serial}/commands": ("the command that was asked for", "", _COMMANDS),
    "GET /api/v1/devices/{serial}/commands": ("commands of a device", "`limit`", _COMMANDS),
    "GET /api/v1/commands/{commandId}": ("a command with its steps", "", _COMMANDS),
    "POST /api/v1/commands/{commandId}/cancel": ("the command, cancelled", "", _COMMANDS),
    "GET /api/v1/command-catalogue": ("what each type of device takes", "`type`", _COMMANDS),
    "GET /api/v1/pipeline": ("workers, their partitions, messages per second", "", "[runbook](../runbook.md)"),
    "GET /api/v1/session": ("who asks, and what they may", "", _SECURITY),
    "POST /api/v1/session": ("the session of a browser, begun with a token", "", _SECURITY),
    "DELETE /api/v1/session": ("nothing; the session is over", "", _SECURITY),
    "GET /livez": ("whether a restart would help", "", _HEALTH),
    "GET /readyz": ("whether all that it needs is there", "", _HEALTH),
    "GET /startupz": ("whether it has started", "", _HEALTH),
    "GET /metrics": ("metrics in Prometheus' text format", "", "[metrics](metrics.md)"),
    "GET /": ("the live page", "", ""),
    "GET /dead-letters": ("the page of dead letters", "", _LETTERS),
    "GET /login.html": ("the page where people log in", "", _SECURITY),
    "GET /static/{name}": ("files of the pages", "", ""),
}


def page() -> str:
    """The routes in Markdown, in the order of `WORDS`; raises `ValueError` when these and the application do not have the same."""
    routes = asyncio.run(_routes())
    if differing := set(routes) ^ set(WORDS):
        raise ValueError(f"routes of the gateway and of docs/reference/pages/http.py differ: {', '.join(sorted(differing))}")
    return INTRODUCTION + "".join(f"| `{route}` | {' | '.join(words)} |\n" for route, words in WORDS.items())


async def _routes() -> Iterable[str]:
    # No request is made, so that there is no need of a session.
    application = Gateway(Settings.model_construct(), cast(ClientSession, None)).app()
    return [
        f"{route.method} {route.resource.canonical}" for route in application.router.routes() if route.resource and route.method != "HEAD"
    ]

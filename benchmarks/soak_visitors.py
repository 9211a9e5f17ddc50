"""Who uses a deployment while `make soak` runs: WebSocket clients, readers of the API, somebody who sends commands, and the webhook's receiver."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from ems_streams.dev.simulator.fleet import Identity

READ_EVERY_S = 0.5
COMMAND_EVERY_S = 2.0
COMMAND_EXPIRES_S = 60
"""Some of the last are for devices that have just gone; these end by expiring, and the comparison waits for it."""
END_STATES = frozenset({"COMPLETED", "FAILED", "REJECTED", "EXPIRED", "CANCELLED"})
_COMMANDED_TYPE = "SOLAR_INVERTER"
_AGAIN_S = 1.0


@dataclass(slots=True)
class Visitors:
    """What they did, and what they got.

    Attributes:
        delivered: Requests that the receiver of the webhook has taken.
        notifications: Of each WebSocket client.
        closed: Times that the gateway closed a WebSocket.
        answers: HTTP answers by path and status.
        commands: Ids of commands that were accepted.
    """

    gateway_url: str
    devices: Sequence[Identity]
    delivered: int = 0
    notifications: Counter[int] = field(default_factory=Counter)
    closed: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    commands: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def visiting(self, session: aiohttp.ClientSession, clients: int) -> AsyncIterator[None]:
        """They come, and leave with the context."""
        work: list[Coroutine[Any, Any, None]] = [self._listen(session, number) for number in range(clients)]
        tasks = [asyncio.create_task(each) for each in (*work, self._read(session), self._command(session))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.ws_connect(f"{self.gateway_url}/ws/notifications") as socket:
                    async for message in socket:
                        self.notifications[number] += message.data.count('"notification":{')
            self.closed += 1
            await asyncio.sleep(_AGAIN_S)

    async def _all_known(self, session: aiohttp.ClientSession) -> None:
        """Until the last device has sent something; nobody asks for what is not there yet."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{self.gateway_url}/api/v1/devices/{self.devices[-1].serial_number}") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(_AGAIN_S)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        await self._all_known(session)
        turn = 0
        while True:
            device = self.devices[turn % len(self.devices)]
            paths = {
                "devices": "/api/v1/devices?limit=100",
                "sites": "/api/v1/sites",
                "alarms": "/api/v1/alarms",
                "device": f"/api/v1/devices/{device.serial_number}",
                "windows": f"/api/v1/devices/{device.serial_number}/aggregates?window=1m&limit=60",
                "notifications": "/api/v1/notifications?limit=100",
            }
            name = list(paths)[turn % len(paths)]
            await self._get(session, name, paths[name])
            turn += 1
            await asyncio.sleep(READ_EVERY_S)

    async def _get(self, session: aiohttp.ClientSession, name: str, path: str) -> None:
        try:
            async with session.get(f"{self.gateway_url}{path}") as answer:
                await answer.read()
                self.answers[f"{name} {answer.status}"] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[f"{name} {type(error).__name__}"] += 1

    async def _command(self, session: aiohttp.ClientSession) -> None:
        await self._all_known(session)
        told = [each for each in self.devices if each.device_type == _COMMANDED_TYPE]
        turn = 0
        while True:
            await asyncio.sleep(COMMAND_EVERY_S)
            body = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 1.0 + turn % 5}, "expiresInS": COMMAND_EXPIRES_S}
            url = f"{self.gateway_url}/api/v1/devices/{told[turn % len(told)].serial_number}/commands"
            turn += 1
            try:
                async with session.post(url, json=body) as answer:
                    said = await answer.json()
                    self.answers[f"command {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.answers[f"command {type(error).__name__}"] += 1
                continue
            if answer.status == 202:
                self.commands.append(said["commandId"])

    async def ends_of_commands(self, session: aiohttp.ClientSession) -> Counter[str]:
        """What became of all commands."""
        found: Counter[str] = Counter()
        for command_id in self.commands:
            async with session.get(f"{self.gateway_url}/api/v1/commands/{command_id}") as answer:
                said = await answer.json()
                found[said.get("status", f"HTTP {answer.status}")] += 1
        return found


@asynccontextmanager
async def receiver(visitors: Visitors, port: int) -> AsyncIterator[None]:
    """Takes everything that the webhook sends."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        visitors.delivered += 1
        return web.Response(status=204)

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()

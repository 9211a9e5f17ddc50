"""The notification side of a gateway on a real Kafka, on a topic of one test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ems_streams.gateway.notification_list import NotificationList
from ems_streams.gateway.notifications import Feed
from ems_streams.gateway.websocket import Limits, NotificationSocket
from ems_streams.ops.http import bound_port, error_middleware, start_site
from ems_streams.settings import Settings

PARTITIONS = 3


@dataclass
class Notifications:
    """The topic of one test."""

    settings: Settings
    topic: str
    producer: AIOKafkaProducer
    admin: AIOKafkaAdminClient

    async def create(self) -> None:
        await self.admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])

    async def send(self, identifier: str, partition: int = 0, **more: Any) -> None:
        await self.send_raw(json.dumps({"notificationId": identifier, **more}).encode(), partition)

    async def send_raw(self, value: bytes, partition: int = 0) -> None:
        await self.producer.send_and_wait(self.topic, value, partition=partition)


@dataclass
class Site:
    """A gateway with nothing but notifications."""

    feed: Feed
    socket: NotificationSocket
    client: aiohttp.ClientSession
    port: int

    def connect(self, since: str | None = None, **query: str) -> Any:
        return self.client.ws_connect("/ws/notifications", params=({"since": since} if since else {}) | query)

    async def page(self, **query: str) -> dict[str, Any]:
        async with self.client.get("/api/v1/notifications", params=query) as response:
            assert response.status == 200, await response.text()
            body: dict[str, Any] = await response.json()
            return body


@asynccontextmanager
async def gateway(given: Notifications, capacity: int = 10_000, limits: Limits | None = None) -> AsyncIterator[Site]:
    """Starts the notification side and waits until it is ready."""
    feed = Feed(given.settings, capacity, given.topic)
    socket = NotificationSocket(feed, limits)
    app = web.Application(middlewares=[error_middleware])
    app.add_routes([*socket.routes(), *NotificationList(feed).routes()])
    app.on_shutdown.append(socket.shut_down)
    runner = await start_site(app, "127.0.0.1", 0, "PORT", shutdown_timeout_s=2.0)
    tail = asyncio.ensure_future(feed.run())
    try:
        async with asyncio.timeout(20):
            while not feed.check().ok:
                await asyncio.sleep(0.02)
        port = bound_port(runner)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield Site(feed, socket, client, port)
    finally:
        tail.cancel()
        await asyncio.gather(tail, return_exceptions=True)
        await runner.cleanup()

# NOTE for the "stack" engineer, from the lead: I overwrote your version of jars.py, jre.py, ports.py by mistake (I believed you were gone) and wrote this one.
# You own all of ems_streams/dev again EXCEPT supervisor.py, command.py and cli/dev.py, which the "supervisor" engineer is writing right now: do not write those.
# Rewrite this file as you need it (yours wins), but keep for the supervisor: Ports(kafka,kafka_controller,mqtt,postgres,worker,ingress,sink,gateway) with Ports.default(offset),
# Ports.free(), check_free(workers); EmbeddedStack(data_dir, ports, *, servers=frozenset({"kafka","mqtt","postgres"}), on_progress=f(done, all)), await prepare()->seconds,
# await start()->seconds, stop(), .servers (each .name .pid .port .log_file .running, async start/stop/kill), .kafka/.mqtt/.postgres, .kafka_bootstrap/.mqtt_url/.database_url,
# and tests/support/stack.py with a session fixture `stack`. Publish it as fast as you can: everybody waits for it. Remove this note.
"""The embedded stack: real Kafka, real MQTT broker, real PostgreSQL, as child processes on loopback."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ems_streams.dev.artemis import Artemis
from ems_streams.dev.jars import cache_dir, class_path, fetch_all
from ems_streams.dev.jre import java
from ems_streams.dev.kafka import Kafka
from ems_streams.dev.ports import Ports
from ems_streams.dev.postgres import Postgres
from ems_streams.dev.server import Server

ALL_SERVERS = frozenset({"kafka", "mqtt", "postgres"})

Progress = Callable[[int, int], None]
"""Gets (jars done, jars in all)."""


class EmbeddedStack:
    """Servers for development and tests; data below `data_dir` survives restarts.

    Args:
        servers: Which ones to run; the others are somebody else's.
        on_progress: Told of every jar that is there and verified.
    """

    def __init__(self, data_dir: Path, ports: Ports, *, servers: frozenset[str] = ALL_SERVERS, on_progress: Progress = lambda _done, _all: None) -> None:
        self._data_dir = data_dir.absolute()
        self._ports = ports
        self._wanted = servers
        self._on_progress = on_progress
        self._by_name: dict[str, Server] = {}

    async def prepare(self) -> float:
        """Fetch and verify what the servers run on, and say how many seconds that took."""
        started_s = time.monotonic()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        paths = {}
        if self._wanted & {"kafka", "mqtt"}:
            runtime = await asyncio.to_thread(java)
            paths = await asyncio.to_thread(fetch_all, cache_dir() / "repository", self._on_progress)
        ports = self._ports
        if "kafka" in self._wanted:
            self._by_name["kafka"] = Kafka(ports.kafka, ports.kafka_controller, self._data_dir, runtime, class_path(paths["kafka"]))
        if "mqtt" in self._wanted:
            self._by_name["mqtt"] = Artemis(ports.mqtt, self._data_dir, runtime, class_path(paths["artemis"]))
        if "postgres" in self._wanted:
            self._by_name["postgres"] = Postgres(ports.postgres, self._data_dir)
        return time.monotonic() - started_s

    async def start(self) -> float:
        """Start all servers at once, and say how many seconds that took; on a failure none is left running."""
        if not self._by_name:
            await self.prepare()
        started_s = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for server in self.servers:
                    group.create_task(server.start())
        except BaseExceptionGroup as failures:
            await self.stop()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.stop()
            raise
        return time.monotonic() - started_s

    async def stop(self) -> None:
        """Stop all servers at once; returns when they are gone."""
        await asyncio.gather(*(server.stop() for server in self.servers))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def servers(self) -> list[Server]:
        """The servers that this stack runs."""
        return list(self._by_name.values())

    @property
    def kafka(self) -> Kafka:
        """The Kafka broker."""
        server = self._by_name["kafka"]
        assert isinstance(server, Kafka)
        return server

    @property
    def mqtt(self) -> Artemis:
        """The MQTT broker."""
        server = self._by_name["mqtt"]
        assert isinstance(server, Artemis)
        return server

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL server."""
        server = self._by_name["postgres"]
        assert isinstance(server, Postgres)
        return server

    @property
    def kafka_bootstrap(self) -> str:
        """Bootstrap servers of the embedded Kafka."""
        return self.kafka.bootstrap

    @property
    def mqtt_url(self) -> str:
        """URL of the embedded MQTT broker."""
        return self.mqtt.url

    @property
    def database_url(self) -> str:
        """URL of the embedded database."""
        return self.postgres.url

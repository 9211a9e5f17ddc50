"""The embedded stack: real Kafka, real MQTT broker, real PostgreSQL, as child processes on loopback."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeVar

from ems_streams.dev.artemis import Artemis
from ems_streams.dev.artemis_security import ArtemisSecurity
from ems_streams.dev.certificates import Pair
from ems_streams.dev.jars import JarCache, OnProgress, default_cache_dir, load_jars
from ems_streams.dev.jre import find_java
from ems_streams.dev.kafka import Kafka, Listener
from ems_streams.dev.kafka_security import KafkaSecurity
from ems_streams.dev.ports import LOOPBACK, Ports
from ems_streams.dev.postgres import Postgres, PostgresSecurity, database_url
from ems_streams.dev.postgres_front import PostgresFront
from ems_streams.dev.server import Server
from ems_streams.settings import Settings

ServerT = TypeVar("ServerT", bound=Server)
ALL_SERVERS = frozenset({"kafka", "mqtt", "postgres"})


class EmbeddedStack:
    """Servers for development and tests; the data below `data_dir` survives restarts.

    `async with EmbeddedStack(data_dir, Ports.free()) as stack:` starts and stops all. Each of `kafka`, `mqtt` and `postgres` has
    `pid`, and can be killed, stopped and started by itself. On Linux no server outlives the thread that started it.

    Args:
        servers: Which ones to run; the others are somebody else's.
        cache_dir: Where jars are kept; default `EMS_CACHE_DIR`, or the user's cache directory.
        on_progress: Told (jars here, jars in all) while they are fetched, from another thread.
        kafka_listeners: More listeners of Kafka, beside the one of `kafka_bootstrap`.
        kafka_security: TLS, users and ACLs of Kafka; without it everybody may do everything.
        mqtt_security: Who may use the MQTT broker, and for what; anybody for anything without it.
        postgres_security: TLS and users of PostgreSQL.
    """

    def __init__(
        self,
        data_dir: Path,
        ports: Ports,
        *,
        servers: frozenset[str] = ALL_SERVERS,
        cache_dir: Path | None = None,
        on_progress: OnProgress = lambda _done, _all: None,
        kafka_listeners: Sequence[Listener] = (),
        kafka_security: KafkaSecurity | None = None,
        mqtt_security: ArtemisSecurity | None = None,
        postgres_security: PostgresSecurity | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.ports = ports
        self._wanted = servers
        self._cache_dir = cache_dir
        self._on_progress = on_progress
        self._kafka_listeners = tuple(kafka_listeners)
        self._kafka_security = kafka_security
        self._mqtt_security = mqtt_security
        self._postgres_security = postgres_security
        self._servers: dict[str, Server] = {}

    @property
    def servers(self) -> list[Server]:
        """The servers that this stack runs; none before `prepare`."""
        return list(self._servers.values())

    @property
    def kafka(self) -> Kafka:
        """The Kafka broker."""
        return self._server("kafka", Kafka)

    @property
    def mqtt(self) -> Artemis:
        """The MQTT broker."""
        return self._server("mqtt", Artemis)

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL server."""
        return self._server("postgres", Postgres)

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port`, for `EMS_KAFKA_BOOTSTRAP_SERVERS`."""
        return f"{LOOPBACK}:{self.ports.kafka}"

    @property
    def mqtt_url(self) -> str:
        """For `EMS_MQTT_URL`."""
        return f"{'mqtt' if self._mqtt_security is None else 'mqtts'}://{LOOPBACK}:{self.ports.mqtt}"

    @property
    def database_url(self) -> str:
        """For `EMS_DATABASE_URL`, as the superuser."""
        security = self._postgres_security
        return (
            database_url(self.ports.postgres, "ems", "ems")
            if security is None
            else database_url(self.ports.postgres, "ems", security.admin_password, security.ca)
        )

    async def prepare(self) -> float:
        """Fetch and verify what the servers run on; returns the seconds it took.

        Raises `JarError`, `JarUnreachableError` or `JreError`; what was fetched until then is kept.
        """
        started_s = time.monotonic()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        found: dict[str, Server] = {}
        if self._wanted & {"kafka", "mqtt"}:
            java, class_paths = await asyncio.to_thread(self._fetch)
            if "kafka" in self._wanted:
                found["kafka"] = Kafka(
                    self.ports.kafka,
                    self.ports.kafka_controller,
                    self.data_dir,
                    java,
                    class_paths["kafka"],
                    listeners=self._kafka_listeners,
                    security=self._kafka_security,
                )
            if "mqtt" in self._wanted:
                found["mqtt"] = Artemis(self.ports.mqtt, self.data_dir, java, class_paths["artemis"], self._mqtt_security)
        if "postgres" in self._wanted:
            postgres = Postgres(self.ports.postgres, self.data_dir, self._postgres_security)
            found["postgres"] = postgres
            if (security := self._postgres_security) is not None:
                shown = Pair(security.cert, security.key)
                found["postgres-tls"] = PostgresFront(self.ports.postgres, self.data_dir, lambda: postgres.socket, shown)
        self._servers = found
        return time.monotonic() - started_s

    async def start(self) -> float:
        """Start all servers at once; returns the seconds it took, without those of `prepare`.

        Raises the first failure (`StartError`, `PortBusyError`, or what `prepare` raises), and leaves none running then.
        """
        if not self._servers:
            await self.prepare()
        started_s = time.monotonic()
        try:
            # One after the other, and before any server is started: left-overs of a run that was killed hold the ports.
            for server in self.servers:
                await server.end_leftover()
            self.ports.check_free(0, self._ports_needed())
            async with asyncio.TaskGroup() as group:
                for server in self.servers:
                    group.create_task(server.start(), name=f"start {server.name}")
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

    def _fetch(self) -> tuple[Path, dict[str, str]]:
        settings = Settings.load()
        repository = None if settings.jar_repository is None else str(settings.jar_repository)
        cache = JarCache((self._cache_dir or settings.cache_dir or default_cache_dir()) / "jars", repository_url=repository)
        jars = load_jars()
        cache.ensure((jar for section in jars.values() for jar in section), self._on_progress)
        return find_java(settings.java), {name: cache.class_path(section) for name, section in jars.items()}

    def _ports_needed(self) -> frozenset[str]:
        stopped = {name for name, server in self._servers.items() if not server.running}
        if "postgres-tls" in self._servers and "postgres-tls" not in stopped:
            # The port is the front's, which is there.
            stopped.discard("postgres")
        return frozenset(stopped | {"kafka_controller"} if "kafka" in stopped else stopped)

    def _server(self, name: str, kind: type[ServerT]) -> ServerT:
        server = self._servers.get(name)
        if not isinstance(server, kind):
            raise LookupError(  # noqa: TRY004 - the type is how it is asked for, not what is wrong
                f"{name} is not run by this stack, or the stack is not prepared"
            )
        return server

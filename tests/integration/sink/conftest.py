"""A database of its own for every test, on the one server; and a whole system, for those that run the process."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.postgres.batch import Entry
from ems_streams.postgres.connection import Connection, connect
from ems_streams.postgres.database import Database
from ems_streams.postgres.migrate import migrate
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.rows import Source, row_of
from ems_streams.postgres.store import Store
from ems_streams.postgres.writer import make_staging
from ems_streams.settings import Settings
from tests.support.deployment import deployment  # noqa: F401 - a fixture
from tests.support.sink import Event, record_of

GROUP = "ems-streams-sink"


@pytest.fixture
async def empty_database(stack: EmbeddedStack) -> AsyncIterator[Settings]:
    """Settings of a database that has nothing in it."""
    name = f"t{uuid4().hex[:12]}"
    server = await asyncpg.connect(stack.database_url)
    await server.execute(f"CREATE DATABASE {name}")
    yield Settings.load(
        database_url=SecretStr(f"{stack.database_url.rpartition('/')[0]}/{name}"),
        kafka_bootstrap_servers=stack.kafka_bootstrap,
        sink_write_timeout_s=5.0,
    )
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


@pytest.fixture
async def settings(empty_database: Settings) -> Settings:
    """Settings of a database that is migrated."""
    await migrate(empty_database)
    return empty_database


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    opened = await connect(settings, "test")
    yield opened
    opened.terminate()


class Bench:
    """A store on a database of its own, and what it has put aside."""

    def __init__(self, settings: Settings, group: str = GROUP) -> None:
        self.put_aside: list[tuple[Entry, Exception]] = []
        self.database = Database(settings, "test-sink", settings.sink_write_timeout_s, make_staging)
        self.store = Store(settings, self.database, group, self._put_aside)
        self._offsets: dict[Partition, itertools.count[int]] = {}

    async def load(self, *partitions: Partition) -> None:
        await self.store.load(dict.fromkeys(partitions, 0))

    def entries(self, *events: Event) -> list[Entry]:
        """Entries of partition 0 of their topics, each behind the last one of its topic."""
        made = []
        for event in events:
            topic, _, value = record_of(event)
            partition = Partition(topic, 0)
            offset = next(self._offsets.setdefault(partition, itertools.count(self.store.positions.get(partition, 0))))
            now_ms = int(datetime.now(UTC).timestamp() * 1000)
            made.append(Entry(partition, offset, value, row_of(topic, value, Source(0, offset, now_ms))))
        return made

    async def write(self, *events: Event) -> set[Partition]:
        return await self.store.write(self.entries(*events))

    async def _put_aside(self, entry: Entry, error: Exception, _: datetime) -> None:
        self.put_aside.append((entry, error))


@pytest.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    made = Bench(settings)
    yield made
    await made.database.stop()

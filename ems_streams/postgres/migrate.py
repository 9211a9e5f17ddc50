"""Brings the schema of a database to what this release needs; alembic, with its steps in the package."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ems_streams.errors import EmsError
from ems_streams.postgres.connection import connect
from ems_streams.settings import Settings

TIMEOUT_S = 300.0


class MigrationError(EmsError):
    """The schema is one that this release cannot bring up to date."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Revisions of the schema; `current` is None for a database that has none of our tables."""

    current: str | None
    head: str


async def migrate(settings: Settings) -> SchemaVersion:
    """Bring the schema to the newest revision, in one transaction; nothing happens when it is there already.

    Any number of processes may do it at once: they wait for each other. Raises `MigrationError` for a schema that a newer release has
    made, and what asyncpg raises when the server is away.
    """
    return await _on_connection(settings, _upgrade)


async def schema_version(settings: Settings) -> SchemaVersion:
    """Which revision the database has, and which one is wanted; changes nothing."""
    return await _on_connection(settings, _version)


async def _on_connection(settings: Settings, work: Callable[[Connection], SchemaVersion]) -> SchemaVersion:
    async def creator() -> asyncpg.Connection:
        return await connect(settings, "ems-migrate")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with asyncio.timeout(TIMEOUT_S), engine.connect() as connection:
            # A migration of another process may take longer than a lock may otherwise be waited for.
            await connection.exec_driver_sql(f"SET lock_timeout = '{TIMEOUT_S:.0f}s'")
            await connection.commit()
            return await connection.run_sync(work)
    except DBAPIError as error:
        # SQLAlchemy hides what the driver has raised two layers deep.
        raise _of_the_driver(error) from error
    except CommandError as error:
        raise MigrationError(f"the schema cannot be migrated: {error}; a newer release may have made it: start that one") from None
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> SchemaVersion:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return _version(connection)


def _version(connection: Connection) -> SchemaVersion:
    script = ScriptDirectory.from_config(_config())
    head = script.get_current_head()
    assert head is not None
    return SchemaVersion(MigrationContext.configure(connection).get_current_revision(), head)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "ems_streams.postgres:migrations")
    return config


def _of_the_driver(error: DBAPIError) -> BaseException:
    return getattr(error.orig, "__cause__", None) or error

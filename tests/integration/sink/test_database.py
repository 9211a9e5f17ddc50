"""One connection behind a breaker: what opens it, what closes it, and that nobody waits for ever."""

import asyncio
import contextlib
import time

import asyncpg
import psutil
import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.postgres.connection import Connection
from ems_streams.postgres.database import Database, SlowError
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration


async def one(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT 1"))


async def lose_the_connection(connection: Connection) -> None:
    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_what_is_not_the_data_s_fault_is_tried_again_on_a_new_connection(settings: Settings) -> None:
    database = Database(settings, "test", 5.0)
    tries = 0

    async def fails_twice(connection: Connection) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            await lose_the_connection(connection)
        return "done"

    assert await database.run(fails_twice) == "done"
    assert tries == 3
    assert database.available
    await database.stop()


# What the driver says depends on how much of the server's last words is in one piece; of six it is the odd one once at least.
@pytest.mark.parametrize("_again", range(6))
async def test_a_session_that_the_server_has_ended_while_we_were_frozen_is_opened_again(settings: Settings, _again: int) -> None:
    database = Database(settings, "test", 5.0)
    tries = 0

    async def freezes_once(connection: Connection) -> int:
        nonlocal tries
        tries += 1
        await connection.execute("SET idle_in_transaction_session_timeout = '100ms'")
        async with connection.transaction():
            answer = asyncio.create_task(connection.execute("SELECT 1"))
            if tries == 1:
                for _ in range(3):
                    await asyncio.sleep(0)  # asked, and not yet answered
                time.sleep(0.4)  # noqa: ASYNC251 - nothing at all may happen in this process meanwhile
            await answer
        return tries

    assert await database.run(freezes_once) == 2
    await database.stop()


async def test_what_blames_the_data_is_raised_and_leaves_the_connection_usable(settings: Settings) -> None:
    database = Database(settings, "test", 5.0)
    pid = await database.run(lambda connection: connection.fetchval("SELECT pg_backend_pid()"))

    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.run(lambda connection: connection.execute("SELECT 1 / 0"))

    assert await database.run(lambda connection: connection.fetchval("SELECT pg_backend_pid()")) == pid
    assert database.available
    await database.stop()


async def test_what_takes_too_long_is_given_up_on_the_server_too(settings: Settings) -> None:
    database = Database(settings, "test-slow", 0.3)

    with pytest.raises(SlowError):
        await database.run(lambda connection: connection.execute("SELECT pg_sleep(60)"))

    assert database.breaker.state is BreakerState.OPEN
    assert await database.run(one) == 1
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-slow' AND query LIKE 'SELECT pg_sleep%'"
    async with asyncio.timeout(10):
        while await database.run(lambda connection: connection.fetchval(sleeping)):
            await asyncio.sleep(0.1)
    await database.stop()


async def test_a_server_that_falls_silent_within_a_transaction_is_given_up_in_time(settings: Settings, stack: EmbeddedStack) -> None:
    database = Database(settings, "test", 0.5)
    server = psutil.Process(stack.postgres.pid)
    processes = [server, *server.children(recursive=True)]

    async def silenced(connection: Connection) -> None:
        async with connection.transaction():
            processes.extend(server.children(recursive=True))
            for process in processes:
                process.suspend()
            await connection.execute("SELECT 1")

    try:
        async with asyncio.timeout(5):
            with pytest.raises(SlowError):
                await database.run(silenced)
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    assert await database.run(one) == 1
    await database.stop()


@pytest.mark.parametrize("outcome", [asyncio.CancelledError, RuntimeError])
async def test_a_trial_that_ends_without_an_answer_does_not_shut_the_breaker_for_ever(
    settings: Settings, outcome: type[BaseException]
) -> None:
    database = Database(settings, "test", 0.2)
    with pytest.raises(SlowError):
        await database.run(lambda connection: connection.execute("SELECT pg_sleep(60)"))

    async def ends(_: Connection) -> None:
        raise outcome

    with pytest.raises(outcome):
        await database.run(ends)

    async with asyncio.timeout(5):
        assert await database.run(one) == 1
    await database.stop()

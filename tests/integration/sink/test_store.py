"""Writing batches into a real PostgreSQL: revisions, what cannot be written, who may move offsets, a server that is slow."""

import asyncio
from typing import Any

import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_STATUS
from ems_streams.postgres import offsets
from ems_streams.postgres.connection import Connection, connect
from ems_streams.postgres.offsets import Move, Partition
from ems_streams.settings import Settings
from tests.integration.sink.conftest import GROUP, Bench
from tests.support.sink import notification_of, site_window_of, transition_of, window_of

pytestmark = pytest.mark.integration

WINDOWS = Partition(DEVICE_AGGREGATES, 0)
TRANSITIONS = Partition(DEVICE_STATUS, 0)
EVERYTHING = (WINDOWS, TRANSITIONS, Partition("site-aggregates", 0), Partition("device-notifications", 0))


async def revisions(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch("SELECT serial_number, revision FROM device_aggregates")
    return {row["serial_number"]: row["revision"] for row in rows}


async def stored(connection: Connection, partition: Partition) -> int:
    found: list[dict[str, Any]] = await offsets.stored_offsets(connection)
    return next(row["next_offset"] for row in found if (row["topic"], row["partition"]) == partition)


async def test_events_of_all_kinds_are_rows_and_offsets_of_one_transaction(bench: Bench, connection: Connection) -> None:
    await bench.load(*EVERYTHING)

    stale = await bench.write(window_of("A"), site_window_of(7), transition_of("A"), notification_of("A"))

    assert stale == set()
    counts = [
        await connection.fetchval(f"SELECT count(*) FROM {name}")
        for name in ("device_aggregates", "site_aggregates", "device_status_events", "notifications")
    ]
    assert counts == [1, 1, 1, 1]
    assert [await stored(connection, partition) for partition in EVERYTHING] == [1, 1, 1, 1]


@pytest.mark.parametrize("batches", [[[1], [3], [2]], [[2, 1, 3]], [[3, 1], [2, 1]], [[1, 2], [3, 2]]])
async def test_the_greatest_revision_wins_in_whatever_order_they_come(
    bench: Bench, connection: Connection, batches: list[list[int]]
) -> None:
    await bench.load(WINDOWS)

    for batch in batches:
        await bench.write(*(window_of("A", 0, revision, eventCount=revision) for revision in batch))

    row = await connection.fetchrow("SELECT revision, event_count, event_id FROM device_aggregates")
    assert (row["revision"], row["event_count"], row["event_id"]) == (3, 3, window_of("A", 0, 3)["eventId"])


async def test_what_postgres_cannot_take_is_put_aside_and_nothing_else(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS, TRANSITIONS)
    events = [window_of(f"A{number}") for number in range(300)]
    events[17] = window_of("A17", deviceType="a\0b")
    events[255] = window_of("A255", energyQuality="\0")
    events.insert(100, transition_of("A", reason="a\0b"))

    await bench.write(*events)

    assert [entry.offset for entry, _ in bench.put_aside] == [17, 0, 255]
    assert all("0x00" in str(error) for _, error in bench.put_aside)
    assert set(await revisions(connection)) == {f"A{number}" for number in range(300) if number not in {17, 255}}
    assert (await stored(connection, WINDOWS), await stored(connection, TRANSITIONS)) == (300, 1)


async def test_who_was_overtaken_writes_nothing_and_goes_on_where_the_other_is(
    settings: Settings, bench: Bench, connection: Connection
) -> None:
    zombie = Bench(settings)
    await bench.load(WINDOWS, TRANSITIONS)
    await zombie.load(WINDOWS, TRANSITIONS)
    overtaken = zombie.entries(window_of("A", 0, 9), window_of("B", 0, 9), transition_of("ZOMBIE"))
    await bench.write(window_of("A"), window_of("B"), window_of("C"))

    stale = await zombie.store.write(overtaken)

    # What nobody else has touched is still the zombie's to write.
    assert stale == {WINDOWS}
    assert await revisions(connection) == {"A": 1, "B": 1, "C": 1}
    assert (await stored(connection, WINDOWS), await stored(connection, TRANSITIONS)) == (3, 1)
    await zombie.load(WINDOWS)
    assert zombie.store.positions[WINDOWS] == 3
    await zombie.database.stop()


async def test_a_zombie_can_neither_move_offsets_back_nor_skip(settings: Settings, bench: Bench, connection: Connection) -> None:
    zombie = Bench(settings)
    await bench.load(WINDOWS)
    await zombie.load(WINDOWS)
    for revision in range(1, 4):
        await bench.write(window_of("A", 0, revision))
    zombie.store.positions[WINDOWS] = 2

    behind = await zombie.write(window_of("Z"))
    zombie.store.positions[WINDOWS] = 4
    ahead = await zombie.write(window_of("Z"))

    assert (behind, ahead) == ({WINDOWS}, {WINDOWS})
    assert await stored(connection, WINDOWS) == 3
    assert await revisions(connection) == {"A": 3}
    await zombie.database.stop()


async def test_a_connection_that_is_lost_in_a_transaction_is_no_loss(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    await bench.write(window_of("A"))
    async with connection.transaction():
        await connection.execute("LOCK TABLE device_aggregates IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(bench.write(window_of("B")))
        await waiting_for_lock(connection)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test-sink' AND datname = current_database()"
        )
    await writing

    assert await revisions(connection) == {"A": 1, "B": 1}
    assert await stored(connection, WINDOWS) == 2


async def test_who_freezes_with_the_locks_in_hand_holds_them_for_seconds_only(
    bench: Bench, settings: Settings, connection: Connection
) -> None:
    frozen = await connect(settings, "test")
    await bench.load(WINDOWS)
    transaction = frozen.transaction()
    await transaction.start()
    assert await offsets.lock(frozen, GROUP, {WINDOWS: Move(0, 1)}) == set()

    async with asyncio.timeout(12):
        while await bench.write(window_of("A")):
            await bench.load(WINDOWS)

    assert await revisions(connection) == {"A": 1}
    frozen.terminate()


async def test_a_slow_server_gets_less_at_once_and_loses_nothing(settings: Settings, connection: Connection) -> None:
    impatient = Bench(settings.model_copy(update={"sink_write_timeout_s": 0.5, "sink_batch_records": 100}))
    await impatient.load(WINDOWS)
    async with connection.transaction():
        await connection.execute("LOCK TABLE device_aggregates IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(impatient.write(*(window_of(f"A{number}") for number in range(100))))
        async with asyncio.timeout(10):
            while impatient.store.at_once == 100 or impatient.database.available:
                await asyncio.sleep(0.02)
        assert not writing.done()
    stale = await writing

    assert stale == set()
    assert len(await revisions(connection)) == 100
    assert impatient.database.available
    assert impatient.store.at_once > 1
    await impatient.database.stop()


async def test_two_groups_have_offsets_of_their_own(settings: Settings, bench: Bench, connection: Connection) -> None:
    other = Bench(settings, "another-sink")
    await bench.load(WINDOWS)
    await bench.write(window_of("A"))
    await other.load(WINDOWS)

    assert other.store.positions[WINDOWS] == 0
    assert await offsets.forget(connection, GROUP, DEVICE_AGGREGATES) == 1
    await other.database.stop()


async def waiting_for_lock(connection: Connection) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'test-sink' AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not await connection.fetchval(query):
            await asyncio.sleep(0.05)

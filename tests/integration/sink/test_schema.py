"""The schema: made from nothing, by many at once, as the code believes it to be; partitions made and dropped; pages of history."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, SITE_AGGREGATES
from ems_streams.postgres import partitions, schema
from ems_streams.postgres.connection import Connection, connect
from ems_streams.postgres.history import device_windows, site_windows
from ems_streams.postgres.migrate import MigrationError, SchemaVersion, migrate, schema_version
from ems_streams.postgres.offsets import Partition
from ems_streams.postgres.partitions import ManyPartitionsError, PartitionKeeper, maintain, partition_names
from ems_streams.settings import Settings
from tests.integration.sink.conftest import Bench
from tests.support.sink import METRIC, TODAY, notification_of, site_window_of, window_of

pytestmark = pytest.mark.integration

WINDOWS = Partition(DEVICE_AGGREGATES, 0)
SITES = Partition(SITE_AGGREGATES, 0)


async def test_a_database_is_migrated_from_nothing_by_whoever_is_first(empty_database: Settings) -> None:
    before = await schema_version(empty_database)

    command = (sys.executable, "-m", "ems_streams", "db", "migrate")
    environment = {**os.environ, "EMS_DATABASE_URL": empty_database.database_url.get_secret_value()}
    waiting = "SELECT count(*) = 4 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    holder = await connect(empty_database, "test")
    await holder.execute("SELECT pg_advisory_lock($1)", schema.LOCK_MIGRATION)
    processes = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(4)]
    # All have looked at the empty database by now, as sinks may that start together.
    async with asyncio.timeout(30):
        while not await holder.fetchval(waiting):
            await asyncio.sleep(0.1)
    await holder.close()
    codes = [await process.wait() for process in processes]

    assert before == SchemaVersion(None, "0001")
    assert codes == [0] * 4
    assert await migrate(empty_database) == SchemaVersion("0001", "0001")


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
async def test_tables_are_as_the_code_believes(connection: Connection, table: schema.Table) -> None:
    columns = await connection.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = $1", table.name)
    key = await connection.fetch(
        "SELECT attname FROM pg_index, unnest(indkey) WITH ORDINALITY AS k (number, place) JOIN pg_attribute ON attnum = number "
        "WHERE indrelid = $1::regclass AND attrelid = indrelid AND indisprimary ORDER BY place",
        table.name,
    )

    assert {row["column_name"] for row in columns} == {*table.columns, "written_at"}
    assert tuple(row["attname"] for row in key) == table.key
    assert not await partitions.is_hypertable(connection, table)


async def test_a_schema_of_a_newer_release_is_refused(settings: Settings, connection: Connection) -> None:
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(MigrationError, match="9999"):
        await migrate(settings)


async def test_a_server_that_is_away_is_told_by_what_asyncpg_says(settings: Settings) -> None:
    wrong = settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://ems:wrong@127.0.0.1:1/ems")})

    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await migrate(wrong)


async def test_partitions_of_the_next_days_are_there_before_they_are_needed(settings: Settings, connection: Connection) -> None:
    now = datetime(2026, 12, 31, 22, tzinfo=UTC)

    first = await maintain(connection, settings, now)
    second = await maintain(connection, settings, now)

    assert first.made[:4] == tuple(f"device_aggregates_p{day}" for day in ("20261231", "20270101", "20270102", "20270103"))
    assert {"site_aggregates_p202612", "notifications_p202701"} <= set(first.made)
    assert second == partitions.Maintained((), ())


async def test_retention_drops_whole_partitions_and_keeps_what_is_younger(settings: Settings, connection: Connection) -> None:
    settings = settings.model_copy(update={"retention_device_aggregates_days": 10, "retention_notifications_days": 0})
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    keeper = PartitionKeeper()
    days = {now.replace(hour=0) - timedelta(days=age) for age in range(13)}
    await keeper.ensure(connection, {schema.DEVICE_AGGREGATES: days, schema.NOTIFICATIONS: {datetime(2001, 1, 1, tzinfo=UTC)}})
    await connection.execute("CREATE TABLE device_aggregates_mine (LIKE device_aggregates)")

    done = await maintain(connection, settings, now)

    # The partition of ten days ago still holds something that is younger than ten days.
    assert done.dropped == ("device_aggregates_p20261113", "device_aggregates_p20261114")
    names = await partition_names(connection, schema.DEVICE_AGGREGATES)
    assert names[0] == "device_aggregates_p20261115"
    assert await partition_names(connection, schema.NOTIFICATIONS) == [
        "notifications_p200101",
        "notifications_p202611",
        "notifications_p202612",
    ]
    assert await connection.fetchval("SELECT to_regclass('device_aggregates_mine') IS NOT NULL")


async def test_old_windows_make_their_partitions_and_those_past_retention_none(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)

    await bench.write(window_of("A", day=TODAY - timedelta(days=30)), window_of("B", day=TODAY - timedelta(days=300)))

    names = await partition_names(connection, schema.DEVICE_AGGREGATES)
    assert names == [schema.DEVICE_AGGREGATES.partition_name(TODAY - timedelta(days=30))]
    assert await connection.fetchval("SELECT count(*) FROM device_aggregates") == 1
    assert bench.store.expired == 1


async def test_a_batch_that_needs_many_partitions_is_written_in_parts(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)

    await bench.write(*(window_of("A", day=TODAY - timedelta(days=age)) for age in range(80)))

    assert len(await partition_names(connection, schema.DEVICE_AGGREGATES)) == 80
    assert await connection.fetchval("SELECT count(*) FROM device_aggregates") == 80
    with pytest.raises(ManyPartitionsError):
        await PartitionKeeper().ensure(connection, {schema.DEVICE_AGGREGATES: {TODAY - timedelta(days=age) for age in range(200, 240)}})


async def test_a_partition_that_was_dropped_under_the_sink_is_made_again(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    await bench.write(window_of("A"))
    await connection.execute(f"DROP TABLE {schema.DEVICE_AGGREGATES.partition_name(TODAY)}")

    await bench.write(window_of("B"))

    assert [row["serial_number"] for row in await connection.fetch("SELECT serial_number FROM device_aggregates")] == ["B"]
    assert bench.put_aside == []


async def test_a_long_read_does_not_hold_up_new_partitions(settings: Settings, bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    await bench.write(window_of("A"))
    async with connection.transaction():
        await connection.fetch("SELECT * FROM device_aggregates")  # holds its lock until the end of the transaction, as a backup does

        async with asyncio.timeout(3):
            await bench.write(window_of("B", day=TODAY - timedelta(days=3)))


async def test_a_long_read_puts_dropping_off_and_holds_up_nobody_for_long(settings: Settings, connection: Connection) -> None:
    other = await connect(settings, "test")
    await PartitionKeeper().ensure(connection, {schema.DEVICE_AGGREGATES: {TODAY - timedelta(days=200)}})
    async with connection.transaction():
        await connection.fetch("SELECT * FROM device_aggregates")
        async with asyncio.timeout(3):
            assert (await maintain(other, settings, TODAY)).dropped == ()

    assert len((await maintain(other, settings, TODAY)).dropped) == 1
    await other.close()


async def test_a_partition_that_was_detached_is_taken_back_when_it_is_needed(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    await bench.write(window_of("A"))
    await connection.execute(f"ALTER TABLE device_aggregates DETACH PARTITION {schema.DEVICE_AGGREGATES.partition_name(TODAY)}")

    await bench.write(window_of("B"))

    assert await connection.fetchval("SELECT count(*) FROM device_aggregates") == 2


async def test_history_comes_newest_first_and_pages_fit_together(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    minutes = [*range(0, 1440 * 3, 180)]
    await bench.write(*(window_of("A", -minute) for minute in minutes), window_of("A", window="15m"), window_of("B"))

    starts, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await device_windows(connection, "A", "1m", limit=7, cursor=cursor)
        starts += [event["windowStart"] for event in page.windows]
        cursor, pages = page.next_cursor, pages + 1
        # What is new meanwhile is before the first page, and shifts nothing.
        await bench.write(window_of("A", pages))

    assert starts == [window_of("A", -minute)["windowStart"] for minute in minutes]
    assert pages == 4


async def test_history_is_bounded_and_told_apart_by_zone(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    zones = ("Asia/Kolkata", "Europe/Berlin")
    local = [window_of("A", -1440 * day, window="1d-local", timeZone=zone) for day in range(4) for zone in zones]
    await bench.write(*local)

    first = await device_windows(connection, "A", "1d-local", start=TODAY - timedelta(days=2), end=TODAY, limit=3)
    second = await device_windows(
        connection, "A", "1d-local", start=TODAY - timedelta(days=2), end=TODAY, limit=3, cursor=first.next_cursor
    )
    berlin = await device_windows(connection, "A", "1d-local", time_zone="Europe/Berlin")

    found = [(event["windowStart"], event["timeZone"]) for event in [*first.windows, *second.windows]]
    days = [window_of("A", -1440 * day)["windowStart"] for day in (1, 2)]
    assert found == [(day, zone) for day in days for zone in reversed(zones)]
    assert second.next_cursor is None
    assert {event["timeZone"] for event in berlin.windows} == {"Europe/Berlin"}
    assert len(berlin.windows) == 4


async def test_windows_come_back_as_the_events_that_they_were(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS, SITES)
    device, site = window_of("A", energyKwh=None), site_window_of(7, metrics={"powerKw": METRIC | {"mean": 1e-300, "sum": -0.1}})
    await bench.write(device, site)

    of_device = (await device_windows(connection, "A", "1m")).windows[0]
    of_site = (await site_windows(connection, 7, "1m")).windows[0]

    assert of_device.pop("writtenAt").endswith("Z")
    assert of_site.pop("writtenAt").endswith("Z")
    assert of_device == device
    assert of_site == site


async def test_history_reads_the_newest_partitions_by_their_key_and_no_others(bench: Bench, connection: Connection) -> None:
    await bench.load(WINDOWS)
    for day in range(5):
        await bench.write(*(window_of(f"A{number}", -1440 * day) for number in range(200)))
    await connection.execute("ANALYZE device_aggregates")
    query = "SELECT * FROM device_aggregates WHERE serial_number = 'A1' AND window_size = '1m' ORDER BY window_start DESC, time_zone DESC LIMIT 2"

    plan = [row[0] for row in await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {query}")]

    assert sum("Index Scan Backward" in line and "never executed" not in line for line in plan) == 2, "\n".join(plan)
    assert not any("Sort" in line or "Seq Scan" in line for line in plan), "\n".join(plan)


async def test_without_the_right_to_make_tables_the_server_is_at_fault(settings: Settings, connection: Connection) -> None:
    """A setting that is wrong must not put a single record aside."""
    bench = Bench(settings)
    await bench.load(Partition("device-notifications", 0))
    await connection.execute("ALTER TABLE notifications RENAME TO away")
    writing = asyncio.create_task(bench.write(notification_of("A")))
    async with asyncio.timeout(10):
        while bench.database.available:
            await asyncio.sleep(0.02)
    assert not writing.done()

    await connection.execute("ALTER TABLE away RENAME TO notifications")
    await asyncio.wait_for(writing, 10)

    assert bench.put_aside == []
    assert await connection.fetchval("SELECT count(*) FROM notifications") == 1
    await bench.database.stop()


async def test_a_session_that_vanishes_loses_its_locks(settings: Settings) -> None:
    opened = await connect(settings, "test")

    found = {name: await opened.fetchval(f"SHOW {name}") for name in ("lock_timeout", "idle_in_transaction_session_timeout", "timezone")}
    await opened.close()

    assert found == {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "5s", "timezone": "UTC"}
    with pytest.raises(asyncpg.InterfaceError):
        await opened.fetchval("SELECT 1")

"""The sink as a process, between a real Kafka and a real PostgreSQL: killed, paused, cut off from its database, fed with rubbish."""

import asyncio
import contextlib
import random
import re
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import psutil
import pytest

from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_NOTIFICATIONS, DEVICE_STATUS, dlt_of
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.sink import (
    TODAY,
    Record,
    dead_letters,
    fetch,
    notification_of,
    publish,
    record_of,
    site_window_of,
    transition_of,
    window_of,
    windows_by_key,
)

pytestmark = pytest.mark.integration

# A session that ends soon: what a killed sink had is given to others within two seconds.
QUICK = {"EMS_KAFKA_SESSION_TIMEOUT_S": "2", "EMS_KAFKA_HEARTBEAT_INTERVAL_S": "0.5", "EMS_KAFKA_REBALANCE_TIMEOUT_S": "4"}
# Every move of a stored offset, in the order of the transactions.
WATCH_MOVES = """
CREATE TABLE moves (number bigserial, topic text, partition integer, start bigint, stop bigint);
CREATE FUNCTION record_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO moves (topic, partition, start, stop) VALUES (NEW.topic, NEW.partition, OLD.next_offset, NEW.next_offset); RETURN NULL; END $$;
CREATE TRIGGER record_move AFTER UPDATE ON sink_offsets FOR EACH ROW EXECUTE FUNCTION record_move();
"""


class Site:
    """A deployment with a database of its own."""

    def __init__(self, deployment: Deployment, database: str) -> None:
        self.deployment = deployment
        self.url = f"{deployment.stack.database_url.rpartition('/')[0]}/{database}"
        deployment.extra |= {"EMS_DATABASE_URL": self.url, **QUICK}
        self.prefix = deployment.application_id

    def publish(self, events: list[dict[str, Any]], more: tuple[Record, ...] = (), *, abort: bool = False) -> None:
        publish(self.deployment.stack.kafka_bootstrap, [*map(record_of, events), *more], self.deployment.partitions, abort=abort)

    def count(self, table: str) -> int:
        return int(fetch(self.url, f"SELECT count(*) FROM {table}")[0][0])

    def dead_letters(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes]]]:
        """Value and headers of the dead letters of this deployment's records."""
        found = dead_letters(self.deployment.stack.kafka_bootstrap, dlt_of(topic), self.deployment.partitions)
        return [(value, headers) for key, value, headers in found if key is not None and key.startswith(self.prefix.encode())]


@pytest.fixture
def site(deployment: Deployment) -> Iterator[Site]:
    database = f"t{uuid4().hex[:12]}"
    execute(deployment.stack.database_url, f"CREATE DATABASE {database}")
    site = Site(deployment, database)
    deployment.command("db", "migrate")
    yield site
    deployment.stop()
    execute(deployment.stack.database_url, f"DROP DATABASE {database} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    async def executed() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(executed())


def checks(sink: Running) -> dict[str, bool]:
    _, body = get(f"{sink.url}/readyz")
    return {name: check["ok"] for name, check in body["checks"].items()} if body else {}


def offsets_behind(sink: Running) -> int:
    _, body = get(f"{sink.url}/readyz")
    found = re.search(r"(\d+) offsets behind", body["checks"]["progress"]["detail"])
    assert found is not None, body
    return int(found[1])


def revised_windows(prefix: str, devices: int, minutes: int) -> tuple[list[dict[str, Any]], dict[tuple[str, Any], int]]:
    """Windows in up to three revisions, in no order, and which revision must be left of each."""
    chosen = random.Random(7)
    events, wanted = [], {}
    for number in range(devices * minutes):
        serial, minute = f"{prefix}-{number % devices}", number // devices
        wanted[serial, TODAY + timedelta(minutes=minute)] = last = chosen.choice((1, 1, 2, 3))
        events += [window_of(serial, minute, revision) for revision in range(1, last + 1)]
    chosen.shuffle(events)
    return events, wanted


def assert_moves_are_contiguous(site: Site) -> None:
    last: dict[tuple[str, int], int] = {}
    for row in fetch(site.url, "SELECT topic, partition, start, stop FROM moves ORDER BY number"):
        key = (row["topic"], row["partition"])
        assert row["start"] == last.get(key, row["start"]), key
        assert row["stop"] > row["start"]
        last[key] = row["stop"]
    assert last


def test_every_window_is_there_once_though_the_sink_is_killed_again_and_again(site: Site) -> None:
    execute(site.url, WATCH_MOVES)
    events, wanted = revised_windows(site.prefix, 200, 60)
    third = len(events) // 3
    rubbish = [(DEVICE_AGGREGATES, f"{site.prefix}-bad".encode(), f"no json {number}".encode()) for number in range(3)]
    for part in range(3):
        site.publish(events[part * third : (part + 1) * third if part < 2 else None], (rubbish[part],))
        # What an aborted transaction has written has never been.
        site.publish([window_of(f"{site.prefix}-aborted", part, 9)], abort=True)

    kills = 0
    sink = site.deployment.sink(EMS_SINK_BATCH_RECORDS="150")
    while kills < 3:
        before = site.count("moves")
        eventually(lambda before=before: site.count("moves") > before + 3, 30, "some batches are written")  # type: ignore[misc]
        sink.kill()
        kills += 1
        assert len(windows_by_key(site.url, site.prefix)) < len(wanted), "killed too late to show anything"
        sink = site.deployment.sink(EMS_SINK_BATCH_RECORDS="150" if kills < 3 else "5000")

    eventually(lambda: windows_by_key(site.url, site.prefix) == wanted, 40, "every window in its last revision")
    assert_moves_are_contiguous(site)
    assert {value for value, _ in site.dead_letters(DEVICE_AGGREGATES)} == {value for _, _, value in rubbish}
    assert sink.terminate() == 0


def test_a_paused_sink_that_wakes_disturbs_nobody(site: Site) -> None:
    execute(site.url, WATCH_MOVES)
    sinks = [site.deployment.sink(index, EMS_SINK_BATCH_RECORDS="200").wait_until_ready() for index in range(2)]
    events, wanted = revised_windows(site.prefix, 100, 40)
    half = len(events) // 2
    site.publish(events[:half])
    eventually(lambda: site.count("moves") > 3, 20, "both have begun")
    sinks[1].popen.send_signal(signal.SIGSTOP)
    try:
        time.sleep(3.5)
        site.publish(events[half:])
        eventually(lambda: windows_by_key(site.url, site.prefix) == wanted, 30, "the other one has taken over")
    finally:
        sinks[1].popen.send_signal(signal.SIGCONT)
    later = {(f"{site.prefix}-{number}", TODAY + timedelta(days=1)): 1 for number in range(100)}
    site.publish([window_of(f"{site.prefix}-{number}", 1440) for number in range(100)])

    eventually(lambda: windows_by_key(site.url, site.prefix) == wanted | later, 30, "all is there after the pause")
    for sink in sinks:
        sink.wait_until_ready()
    assert_moves_are_contiguous(site)
    assert [sink.terminate() for sink in sinks] == [0, 0]


def test_nothing_is_lost_while_postgres_is_away(site: Site) -> None:
    stack = site.deployment.stack
    sink = site.deployment.sink().wait_until_ready()
    pid = sink.popen.pid
    site.publish([window_of(f"{site.prefix}-{number}", 0) for number in range(500)])
    eventually(lambda: site.count("device_aggregates") > 0, 20, "the first are written")

    asyncio.run(stack.postgres.kill())
    try:
        for minute in range(1, 21):
            site.publish([window_of(f"{site.prefix}-{number}", minute) for number in range(500)])
        eventually(lambda: checks(sink).get("postgres") is False, 20, "readiness says so")
        assert checks(sink)["kafka"]
        assert get(f"{sink.url}/livez")[0] == 200
        behind = offsets_behind(sink)
        for minute in range(21, 31):
            site.publish([window_of(f"{site.prefix}-{number}", minute) for number in range(500)])
        # It fetches nothing more meanwhile, and knows all the same.
        eventually(lambda: offsets_behind(sink) >= behind + 500 * 10, 20, "it says how far behind it is")
    finally:
        asyncio.run(stack.postgres.start())

    eventually(lambda: site.count("device_aggregates") == 500 * 31, 40, "it has caught up")
    eventually(lambda: offsets_behind(sink) == 0, 20, "it says so")
    sink.wait_until_ready(15)
    assert sink.popen.poll() is None
    assert sink.popen.pid == pid
    assert sink.terminate() == 0


def test_a_postgres_that_is_silent_is_waited_for_like_one_that_is_away(site: Site) -> None:
    """What a network does that drops packets: connections stay, and nothing is ever answered."""
    sink = site.deployment.sink(EMS_SINK_WRITE_TIMEOUT_S="2").wait_until_ready()
    server = psutil.Process(site.deployment.stack.postgres.pid)
    frozen = [server, *server.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        site.publish([window_of(f"{site.prefix}-{number}") for number in range(500)])
        eventually(lambda: checks(sink).get("postgres") is False, 20, "readiness says so")
        assert get(f"{sink.url}/livez")[0] == 200
        time.sleep(3)
    finally:
        for process in frozen:
            process.resume()

    eventually(lambda: site.count("device_aggregates") == 500, 30, "it has caught up")
    assert sink.wait_until_ready(15).terminate() == 0


def test_nothing_is_lost_while_kafka_is_away(site: Site) -> None:
    stack = site.deployment.stack
    sink = site.deployment.sink().wait_until_ready()
    site.publish([window_of(f"{site.prefix}-{number}", 0) for number in range(500)])
    # A lone broker that is killed between the decision and the markers of a transaction may leave it open for ever; that is not the sink's to mend.
    eventually(lambda: site.count("device_aggregates") == 500, 20, "the first are written")

    asyncio.run(stack.kafka.kill())
    try:
        eventually(lambda: checks(sink).get("kafka") is False, 20, "readiness says so")
        assert get(f"{sink.url}/livez")[0] == 200
    finally:
        asyncio.run(stack.kafka.start())

    site.publish([window_of(f"{site.prefix}-{number}", 1) for number in range(500)])
    eventually(lambda: site.count("device_aggregates") == 1000, 40, "it goes on")
    assert sink.wait_until_ready(20).terminate() == 0


def test_a_start_and_a_stop_without_postgres(site: Site) -> None:
    stack = site.deployment.stack
    asyncio.run(stack.postgres.kill())
    try:
        waiting = site.deployment.sink()
        eventually(lambda: checks(waiting).get("postgres") is False, 20, "it waits, and says for what")
        assert get(f"{waiting.url}/livez")[0] == 200
        assert get(f"{waiting.url}/startupz")[0] == 503
        assert waiting.terminate(5) == 0
        sink = site.deployment.sink()
        eventually(lambda: checks(sink).get("postgres") is False, 20, "it waits again")
    finally:
        asyncio.run(stack.postgres.start())
    sink.wait_until_ready(20)
    site.publish([window_of(site.prefix)])
    eventually(lambda: site.count("device_aggregates") == 1, 20, "it works")


def test_what_is_no_event_goes_to_the_dead_letters_alone(site: Site) -> None:
    sink = site.deployment.sink().wait_until_ready()
    good = [
        *(window_of(f"{site.prefix}-{number}") for number in range(200)),
        *(transition_of(f"{site.prefix}-{number}") for number in range(20)),
        *(notification_of(f"{site.prefix}-{number}") for number in range(20)),
        site_window_of(11),
    ]
    key = f"{site.prefix}-bad".encode()
    malformed = (DEVICE_STATUS, key, b'{"newStatus": "ASLEEP"}')
    _, _, impossible = record_of(notification_of(f"{site.prefix}-bad", message="a\0b"))

    site.publish(good, (malformed, (DEVICE_NOTIFICATIONS, key, impossible)))

    eventually(lambda: site.count("notifications") == 20 and site.dead_letters(DEVICE_NOTIFICATIONS), 20, "written, and put aside")
    counts = {name: site.count(name) for name in ("device_aggregates", "device_status_events", "site_aggregates")}
    assert counts == {"device_aggregates": 200, "device_status_events": 20, "site_aggregates": 1}
    [(value, headers)] = site.dead_letters(DEVICE_NOTIFICATIONS)
    assert value == impossible
    assert headers["dlt-stage"] == b"sink"
    assert headers["dlt-original-topic"] == DEVICE_NOTIFICATIONS.encode()
    assert headers["dlt-attempts"] == b"4"
    assert headers["dlt-error-class"] == b"CharacterNotInRepertoireError"
    [(value, headers)] = site.dead_letters(DEVICE_STATUS)
    assert value == malformed[2]
    assert (headers["dlt-error-class"], headers["dlt-attempts"]) == (b"invalid_field", b"1")
    offsets = {(row[0], row[1]): row[2] for row in fetch(site.url, "SELECT topic, partition, next_offset FROM sink_offsets")}
    assert int(headers["dlt-original-offset"]) < offsets[DEVICE_STATUS, int(headers["dlt-original-partition"])]
    assert sink.popen.poll() is None


def test_a_topic_that_was_made_anew_stops_the_sink_until_somebody_decides(site: Site) -> None:
    group = f"{site.prefix}-sink"
    site.publish([window_of(f"{site.prefix}-{number}") for number in range(40)])
    execute(site.url, f"INSERT INTO sink_offsets VALUES ('{group}', '{DEVICE_AGGREGATES}', 1, 1000000000)")
    sink = site.deployment.sink()

    assert sink.popen.wait(30) == 1
    assert f"{DEVICE_AGGREGATES} partition 1 ends at offset" in sink.log_tail()

    site.deployment.command("db", "forget-offsets", DEVICE_AGGREGATES)
    site.deployment.sink()
    eventually(lambda: site.count("device_aggregates") == 40, 30, "it reads the topic from its beginning")


def test_the_database_is_shown_to_people(site: Site) -> None:
    sink = site.deployment.sink().wait_until_ready()
    site.publish([window_of(site.prefix)])
    eventually(lambda: site.count("device_aggregates") == 1, 20, "written")

    shown = site.deployment.command("db", "status").stdout

    assert "schema 0001, this release needs 0001" in shown
    assert "device_aggregates" in shown
    assert f"{site.prefix}-sink" in shown
    with contextlib.suppress(AssertionError):
        sink.terminate()

"""The agent of sites on a real partition and store: what it publishes where, once per commit, and the same after a crash."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import orjson
import pytest

from agents.sites import fold_batch, publish_windows
from ems_streams.domain.events import SiteAggregateEvent, decode
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.site_codec import decode as decode_record
from ems_streams.domain.site_codec import encode
from ems_streams.domain.site_records import SiteRecord
from ems_streams.domain.timestamps import MINUTE_MS, from_epoch_ms
from ems_streams.domain.windows import DAY_MS
from ems_streams.kafka import partition_state
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import INGRESS_HEARTBEATS, SITE_AGGREGATES, SITE_PARTS, dlt_of
from ems_streams.kafka.heartbeats import SETTLED_MS
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.postgres.rows import Source, row_of
from ems_streams.settings import Settings
from tests.support.partition import Stored
from tests.unit.domain.builders import NOON_MS
from tests.unit.domain.site_builders import POLICY, part

SERIALS = ("A", "B", "C")


class Topics:
    """Kafka with one partition of each topic, as far as the agent sees it: what is committed, in order."""

    def __init__(self) -> None:
        self.records: dict[str, list[Stored]] = {SITE_PARTS: [], SITE_AGGREGATES: [], dlt_of(SITE_PARTS): []}
        self._commits = 0

    def append(self, topic: str, at_ms: int, key: bytes | None, value: bytes | None) -> None:
        kept = self.records[topic]
        kept.append(Stored(len(kept), at_ms, key, value))

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        self._commits += 1
        for (topic, partition), records in outputs.items():
            assert partition == 0
            for key, value, _ in records if topic in self.records else ():
                self.append(topic, NOON_MS, key, value)
        return dict.fromkeys(outputs, self._commits)

    async def close(self) -> None:
        """Nothing is open."""


class Worker:
    """The agent on the only partition."""

    def __init__(self, directory: Path) -> None:
        self.table: StateTable[SiteRecord] = StateTable(WorkerApp(Settings(data_dir=directory)), "states", Codec(encode, decode_record), 1)
        self.topics = Topics()
        self.heartbeats = 0
        self.restart()

    def restart(self) -> None:
        """As after a crash: what was not committed is gone."""
        self.partition = PartitionState(
            0,
            epoch=0,
            changelog="changelog",
            codec=self.table.codec,
            store=self.table.store,
            writer=self.topics,  # type: ignore[arg-type]  # as much of it as is used
            complete=partial(publish_windows, policy=POLICY, partitions=1),
        )

    def send(self, *parts: bytes, key: bytes = b"7", at_ms: int = NOON_MS + 60 * MINUTE_MS) -> None:
        for value in parts:
            self.topics.append(SITE_PARTS, at_ms, key, value)

    def work(self, most: int = 10_000) -> bool:
        """Fold what is behind the position, so many records at the most."""
        start = self.partition.positions.get(SITE_PARTS, -1) + 1
        records = self.topics.records[SITE_PARTS][start : start + most]
        if records:
            self._fold(SITE_PARTS, records)
        return bool(records)

    def heartbeat(self, at_ms: int) -> None:
        beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(at_ms), telemetry_end=0)
        self._fold(INGRESS_HEARTBEATS, [Stored(self.heartbeats, at_ms, None, beat.encode())])
        self.heartbeats += 1

    def _fold(self, topic: str, records: Sequence[Stored]) -> None:
        fold_part(partial(fold_batch, policy=POLICY, partitions=1), RecordBatch(topic, 0, records, 0), 0, self.partition)

    def published(self) -> list[SiteAggregateEvent]:
        return [decode(SiteAggregateEvent, record.value) for record in self.topics.records[SITE_AGGREGATES]]

    def last(self) -> dict[tuple[int, str, str], dict]:
        found = [orjson.loads(record.value or b"") for record in self.topics.records[SITE_AGGREGATES]]
        return {(each["siteId"], each["window"], each["windowStart"]): each | {"revision": 0, "eventId": ""} for each in found}


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


async def test_many_parts_of_a_commit_make_one_revision_which_the_sink_takes(worker: Worker) -> None:
    worker.send(*(part(serial, minute).encode() for minute in range(3) for serial in SERIALS))
    while worker.work(most=2):
        assert worker.published() == []
    await worker.partition.commit()
    assert [(each.revision, each.devices_reported, each.devices_total) for each in worker.published()] == [(1, 3, 3)] * 3
    for record in worker.topics.records[SITE_AGGREGATES]:
        assert record.key == b"7"
        assert row_of(SITE_AGGREGATES, record.value, Source(0, 0, NOON_MS)).key[:2] == (7, "1m")


async def test_a_device_that_moves_is_heard_of_by_the_site_that_it_was_at(worker: Worker) -> None:
    worker.send(*(part(serial, minute).encode() for minute in range(3) for serial in SERIALS))
    worker.work()
    await worker.partition.commit()
    worker.send(*(part("C", minute, site=8).encode() for minute in range(3, 6)), key=b"8")
    worker.send(*(part(serial, minute).encode() for minute in range(3, 6) for serial in "AB"))
    while worker.work():
        await worker.partition.commit()
    told = [orjson.loads(record.value or b"") for record in worker.topics.records[SITE_PARTS] if b"\n" not in (record.value or b"")]
    assert [each for each in told if "left" in each] == [{"left": "C", "siteId": 7, "since": NOON_MS + 4 * MINUTE_MS}]
    totals = {(each.site_id, each.window_start): each.devices_total for each in worker.published()}
    assert totals[7, from_epoch_ms(NOON_MS + 3 * MINUTE_MS)] == 2
    assert totals[8, from_epoch_ms(NOON_MS + 3 * MINUTE_MS)] == 1


@pytest.mark.parametrize("seed", range(5))
async def test_crashes_between_commits_and_a_small_memory_change_nothing(
    worker: Worker, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnd = random.Random(seed)
    sites = {"A": 7, "B": 7, "C": 8, "D": 7}
    parts = [part(serial, minute, site=sites[serial]) for minute in range(8) for serial in sites] + [part("D", 5, site=8, revision=2)]
    calm = Worker(tmp_path / "calm")
    for each in (calm, worker):
        for sent in parts:
            each.send(sent.encode(), key=sent.key)
    while calm.work():
        await calm.partition.commit()
    monkeypatch.setattr(partition_state, "CACHED_BYTES_MAX", 1_000)
    while worker.work(rnd.randint(1, 7)):
        if rnd.random() < 0.5:
            await worker.partition.commit()
        if rnd.random() < 0.3:
            worker.restart()
    for each in (calm, worker):
        each.heartbeat(NOON_MS + 2 * DAY_MS)
        each.heartbeat(NOON_MS + 2 * DAY_MS + SETTLED_MS)
        await each.partition.commit()
        while each.work():
            await each.partition.commit()
    assert worker.last() == calm.last()
    assert len({each.event_id for each in worker.published()}) == len(worker.published())


async def test_a_site_that_is_quiet_closes_its_windows_by_heartbeats(worker: Worker) -> None:
    sent_ms = NOON_MS + 2 * MINUTE_MS
    worker.send(part("A", 0).encode(), at_ms=sent_ms)
    worker.work()
    for at_ms in (sent_ms, sent_ms + POLICY.windows.quiet_ms, sent_ms + POLICY.windows.quiet_ms + SETTLED_MS - 1):
        worker.heartbeat(at_ms)
        await worker.partition.commit()
        assert worker.published() == []
    worker.heartbeat(sent_ms + POLICY.windows.quiet_ms + SETTLED_MS)
    await worker.partition.commit()
    assert [each.revision for each in worker.published()] == [1]


async def test_what_is_no_part_of_the_site_of_its_key_is_put_aside(worker: Worker) -> None:
    worker.send(b"rubbish", part("A", 0, site=8).encode(), part("A", 0).encode()[:-1], part("A", 0).encode())
    worker.work()
    await worker.partition.commit()
    assert len(worker.topics.records[dlt_of(SITE_PARTS)]) == 3

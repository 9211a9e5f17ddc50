"""What is counted of an agent: by batches and commits, with the oldest message telling the latency."""

import time
import uuid

import pytest
from prometheus_client import Counter, Histogram

from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.kafka.agent_meters import AgentMeters
from ems_streams.kafka.catalogue import DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, dlt_of
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.metrics import dependencies, worker
from ems_streams.metrics.quick import QuickHistogram
from tests.integration.worker.test_worker import telemetry
from tests.support.partition import Stored


@pytest.fixture
def agent() -> str:
    return f"agent-{uuid.uuid4().hex[:8]}"


def count_and_sum(histogram: Histogram | QuickHistogram, agent: str) -> tuple[float, float]:
    samples = [
        each for family in histogram.collect() for each in family.samples if each.labels["agent"] == agent and "le" not in each.labels
    ]
    values = {each.name.rpartition("_")[2]: each.value for each in samples}
    return values["count"], values["sum"]


def total(counter: Counter, *labels: str) -> float:
    return float(counter.labels(*labels)._value.get())


def batch(topic: str, ages_s: list[float]) -> RecordBatch:
    now_ms = int(time.time() * 1000)
    records = [Stored(offset, now_ms - int(age_s * 1000), *telemetry("M-1", 1.5, offset)) for offset, age_s in enumerate(ages_s)]
    return RecordBatch(topic, 0, records, 0)  # type: ignore[arg-type]  # as much of a record as is used


def test_a_batch_counts_from_where_it_was_folded(agent: str) -> None:
    AgentMeters(agent).folded(batch(DEVICE_TELEMETRY, [9.0, 4.0, 1.0]), 1, time.perf_counter() - 0.25)
    assert total(worker.FOLDED_RECORDS, agent, DEVICE_TELEMETRY) == 2
    assert count_and_sum(worker.BATCH_RECORDS, agent) == (1, 2)
    folded, took_s = count_and_sum(worker.FOLD_SECONDS, agent)
    assert folded == 1
    assert took_s == pytest.approx(0.25, abs=0.1)
    told, late_s = count_and_sum(worker.RECEIVE_TO_TABLE, agent)
    assert told == 1, "once for a batch"
    assert late_s == pytest.approx(4.0, abs=0.5), "of the oldest that was folded"


def test_the_devices_own_time_is_told_of_what_is_decoded_already_and_nothing_is_decoded_for_it(agent: str) -> None:
    meters, given = AgentMeters(agent), batch(DEVICE_TELEMETRY, [0.0, 0.0])
    meters.folded(given, 0, time.perf_counter())
    assert count_and_sum(worker.DEVICE_TO_TABLE, agent)[0] == 0
    list(given.decoded(decode_telemetry_record, 0))
    meters.folded(given, 0, time.perf_counter())
    told, late_s = count_and_sum(worker.DEVICE_TO_TABLE, agent)
    assert told == 1
    assert late_s > 86_400, "the devices of these tests live in January 2026"


def test_other_topics_have_no_latency(agent: str) -> None:
    AgentMeters(agent).folded(batch(DEVICE_STATUS_REPORTS, [4.0]), 0, time.perf_counter())
    assert count_and_sum(worker.RECEIVE_TO_TABLE, agent)[0] == 0


def test_a_commit_counts_what_it_wrote_published_and_gave_up(agent: str) -> None:
    meters, dlt, error = AgentMeters(agent), dlt_of(DEVICE_TELEMETRY), f"class_{agent}"
    before = total(dependencies.DEAD_LETTERS, dlt, error)
    letter = (b"M-1", b"junk", [("dlt-stage", b"x"), ("dlt-error-class", error.encode())])
    meters.committed(0.5, {b"M-1": b"12345", b"M-2": None}, {("device-status", 1): [(b"k", b"v", ())] * 3, (dlt, 1): [letter, letter]})
    assert total(worker.CHANGELOG_RECORDS, agent) == 2
    assert total(worker.CHANGELOG_BYTES, agent) == 11
    assert total(worker.PUBLISHED_RECORDS, agent, "device-status") == 3
    assert total(dependencies.DEAD_LETTERS, dlt, error) - before == 2
    assert count_and_sum(worker.COMMIT_SECONDS, agent) == (1, 0.5)


def test_classes_of_errors_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "_known_classes", {"known"})
    monkeypatch.setattr(dependencies, "_ERROR_CLASSES_MAX", 1)
    topic = f"bounded-{uuid.uuid4().hex[:8]}-dlt"
    for error in (b"known", b"another", b"a third"):
        dependencies.count_dead_letters({(topic, 0): [(b"k", b"v", [("dlt-error-class", error)])]})
    assert total(dependencies.DEAD_LETTERS, topic, "known") == 1
    assert total(dependencies.DEAD_LETTERS, topic, "other") == 2

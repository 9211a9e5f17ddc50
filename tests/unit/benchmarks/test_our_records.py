"""What the benchmark reads from the table of our worker, against what the events say."""

import json
from collections import defaultdict

import orjson
import pytest

from benchmarks.check import Observed, compare, of_our_records
from benchmarks.dataset import TELEMETRY_TOPIC, Dataset, Shape
from ems_streams.domain import aggregates_codec, quarter
from ems_streams.domain.aggregates import DeviceAggregates, fold
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.telemetry_record import decode_telemetry_record
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.window_closing import settle
from ems_streams.domain.windows import WindowPolicy
from ems_streams.kafka.partition_state import POSITION_KEY
from tables.device_aggregates import QUARTER_MARK
from tests.unit.domain.builders import MemoryQuarters

Entry = tuple[int, bytes, bytes]
POLICY = WindowPolicy(published=frozenset())


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Two devices over half an hour."""
    made = Dataset(Shape(events=2 * 180, devices=2, partitions=2))
    assert sum(1 for _ in made.generate()) == 360
    return made


@pytest.fixture(scope="module")
def entries(dataset: Dataset) -> list[Entry]:
    """What a worker's table holds after all of them, one commit per message."""
    states: dict[bytes, DeviceAggregates] = {}
    quarters: defaultdict[bytes, MemoryQuarters] = defaultdict(MemoryQuarters)
    homes: dict[bytes, int] = {}
    for offset, (partition, key, value) in enumerate(Dataset(dataset.shape).generate()):
        telemetry = decode_telemetry_record(value.encode())
        state = states.setdefault(key, DeviceAggregates(telemetry.serial_number))
        fold(state, telemetry, telemetry_identity(None, value.encode()), offset, telemetry.timestamp_ms, POLICY)
        settle(state, quarters[key], POLICY)
        homes[key] = partition
    found = [(homes[key], key, aggregates_codec.encode(state)) for key, state in states.items()]
    for key, kept in quarters.items():
        kept.forget()
        prefix = QUARTER_MARK + key + b"\x00"
        found += [(homes[key], prefix + start_ms.to_bytes(8, "big", signed=True), value) for start_ms, value in kept.stored.items()]
    ends = enumerate(len(events) for events in dataset.partitions)
    return [*found, *((partition, POSITION_KEY, orjson.dumps({TELEMETRY_TOPIC: end - 1})) for partition, end in ends)]


def observed(dataset: Dataset, entries: list[Entry]) -> Observed:
    return of_our_records(entries, TELEMETRY_TOPIC, dataset.sampled(1))


def test_totals_and_every_window_are_exact(dataset: Dataset, entries: list[Entry]) -> None:
    found = observed(dataset, entries)
    assert found.all_windows
    minutes = {start_ms // MINUTE_MS for _, start_ms in found.windows}
    verdict = compare(dataset, found, every=1)
    assert verdict.right, verdict.detail
    assert verdict.detail == f"exact: 360 events, 2 devices, {2 * len(minutes)} windows"
    assert any(key.startswith(QUARTER_MARK) for _, key, _ in entries), "some windows are closed, others are open"


def test_only_the_windows_of_the_sampled_devices_are_read(dataset: Dataset, entries: list[Entry]) -> None:
    found = of_our_records(entries, TELEMETRY_TOPIC, dataset.sampled(2))
    assert {serial for serial, _ in found.windows} == {"INV-00000"}
    assert len(found.totals) == 2


def test_a_quarter_that_is_lost_is_missed(dataset: Dataset, entries: list[Entry]) -> None:
    lost = next(entry for entry in entries if entry[1].startswith(QUARTER_MARK))
    verdict = compare(dataset, observed(dataset, [entry for entry in entries if entry is not lost]), every=1)
    assert not verdict.right
    assert verdict.detail.startswith("WRONG: 0 of 2 devices, ")


def test_a_sample_that_is_lost_is_missed(dataset: Dataset, entries: list[Entry]) -> None:
    partition, key, value = next(entry for entry in entries if entry[1].startswith(QUARTER_MARK))
    kept = quarter.decode(value)
    kept.samples = kept.samples[len(kept.samples) // 90 :]
    changed = [(partition, key, quarter.encode(kept)) if entry[1] == key else entry for entry in entries]
    assert "1 of" in compare(dataset, observed(dataset, changed), every=1).detail


def test_windows_whose_samples_were_given_up_are_not_missed(dataset: Dataset, entries: list[Entry]) -> None:
    partition, key, value = next(entry for entry in entries if entry[1].startswith(QUARTER_MARK))
    kept = quarter.decode(value)
    kept.samples, kept.settled = b"", True
    changed = [(partition, key, quarter.encode(kept)) if entry[1] == key else entry for entry in entries]
    assert compare(dataset, observed(dataset, changed), every=1).right


def test_a_value_that_is_not_counted_in_the_total_is_missed(dataset: Dataset, entries: list[Entry]) -> None:
    changed = []
    for partition, key, value in entries:
        if key == b"INV-00001":
            state = aggregates_codec.decode(value)
            state.open = state.open[: len(state.open) // 2]
            changed.append((partition, key, aggregates_codec.encode(state)))
        else:
            changed.append((partition, key, value))
    assert not compare(dataset, observed(dataset, changed), every=1).right


def test_the_events_of_the_dataset_are_telemetry(dataset: Dataset) -> None:
    *_, value = next(Dataset(dataset.shape).generate())
    assert decode_telemetry_record(value.encode()).metrics == json.loads(value)["telemetryData"]

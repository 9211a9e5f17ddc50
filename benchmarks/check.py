"""Whether a peer has computed the right thing: its state, as it left it in Kafka or in a file, against the events themselves."""

import json
import math
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.dataset import METRICS, Dataset, Statistics
from ems_streams.domain import aggregates_codec, quarter
from ems_streams.domain.accumulators import Accumulators, statistics_view
from ems_streams.domain.aggregates import DeviceAggregates, thaw, total
from ems_streams.domain.samples import first_ms, ordered, split
from ems_streams.domain.section import add_samples, new_section
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.kafka.partition_state import POSITION_KEY
from tables.device_aggregates import QUARTER_MARK

SAMPLED_DEVICES = 50
"""Windows are compared for every so many-th device; totals for all."""

_POLL_S = 1.0
_READ_AT_ONCE = 5000
_METRIC = struct.Struct(">qdddd")
_QUARTER_KEY_END = 9
"""A zero byte and the start of the quarter, behind the serial number."""
_SERIAL = re.compile(rb"INV-\d{5,}")

Metrics = Mapping[str, Mapping[str, float]]


@dataclass
class Observed:
    """What a peer has.

    Attributes:
        totals: By serial number.
        windows: By serial number and window start in epoch milliseconds.
        ends: Next offset to be read per partition, as the peer knows it.
        all_windows: Whether every window must be there; otherwise the missing ones are not held against it.
    """

    totals: dict[str, Metrics] = field(default_factory=dict)
    windows: dict[tuple[str, int], Metrics] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    all_windows: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of a comparison."""

    right: bool
    detail: str


def compare(dataset: Dataset, observed: Observed, every: int = SAMPLED_DEVICES) -> Verdict:
    """Compare count, sum, min, max and last of every metric of every device, and of the windows of every n-th device."""
    events = sum(observed.ends.values())
    totals = dataset.totals(observed.ends)
    wrong = [serial for serial, expected in totals.items() if not _same(expected, observed.totals.get(serial))]
    strangers = observed.totals.keys() - totals.keys()
    sampled = dataset.sampled(every)
    windows = dataset.windows(observed.ends, every)
    seen = {key: metrics for key, metrics in observed.windows.items() if key[0] in sampled}
    expected_keys = windows.keys() if observed.all_windows else windows.keys() & seen.keys()
    wrong_windows = [key for key in expected_keys if not _same(windows[key], seen.get(key))]
    strange_windows = seen.keys() - windows.keys()
    if not (wrong or strangers or wrong_windows or strange_windows):
        return Verdict(True, f"exact: {events:,} events, {len(totals):,} devices, {len(expected_keys):,} windows")
    counted = sum(int(metrics[METRICS[0]]["count"]) for metrics in observed.totals.values())
    return Verdict(
        False,
        f"WRONG: {len(wrong):,} of {len(totals):,} devices, {len(wrong_windows) + len(strange_windows):,} of {len(expected_keys):,} windows; "
        f"{counted - events:+,} of {events:,} events{_example(wrong, totals, observed.totals)}{_example(wrong_windows, windows, seen)}",
    )


def _example(wrong: Sequence, expected: Mapping, found: Mapping) -> str:
    """The first metric of the first one that is wrong."""
    if not wrong:
        return ""
    metrics = found.get(wrong[0])
    return f"; such as {wrong[0]}: {metrics and metrics[METRICS[0]]} instead of {expected[wrong[0]][0]}"


def _same(expected: list[Statistics], metrics: Metrics | None) -> bool:
    if metrics is None:
        return False
    for name, statistics in zip(METRICS, expected, strict=True):
        found = metrics[name]
        exact = (found["count"], found["min"], found["max"], found["last"])
        if exact != (statistics.count, statistics.least / 10, statistics.greatest / 10, statistics.last / 10):
            return False
        if not math.isclose(found["sum"], statistics.total / 10, rel_tol=1e-9):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Run:
    """What a reader of a changelog has to know."""

    broker: str
    run_id: str
    topic: str
    partitions: int
    sampled: Collection[str] = ()
    """Serial numbers of the devices whose windows are compared; readers may leave those of others out."""


Reader = Callable[[Run], Observed]


def ours(run: Run) -> Observed:
    """Totals, windows of minutes and the positions, all from the changelog of the aggregates."""
    entries = _last_values(run, f"{run.run_id}-device-aggregates-changelog", partial(_is_wanted, sampled=run.sampled))
    return of_our_records(((partition, key, value) for (partition, key), value in entries.items()), run.topic, run.sampled)


def _is_wanted(key: bytes, sampled: Collection[str]) -> bool:
    """Whether a record is looked at: quarters are most of the table, and only those of a few devices are."""
    return not key.startswith(QUARTER_MARK) or _device_of_quarter(key) in sampled


def _device_of_quarter(key: bytes) -> str:
    return key[len(QUARTER_MARK) : -_QUARTER_KEY_END].decode()


def of_our_records(entries: Iterable[tuple[int, bytes, bytes]], topic: str, sampled: Collection[str]) -> Observed:
    """What the table of the aggregates holds.

    Args:
        entries: Partition, key and value of its records.
        topic: Of the telemetry.
        sampled: Serial numbers of the devices whose windows are wanted.
    """
    observed = Observed()
    states: dict[str, DeviceAggregates] = {}
    samples: defaultdict[str, list[bytes]] = defaultdict(list)
    for partition, key, value in entries:
        if key == POSITION_KEY:
            observed.ends[partition] = orjson.loads(value)[topic] + 1
        elif not key.startswith(QUARTER_MARK):
            state = aggregates_codec.decode(value)
            observed.totals[state.serial_number] = metrics_of(total(state))
            if state.serial_number in sampled:
                states[state.serial_number] = state
        elif (serial := _device_of_quarter(key)) in sampled:
            kept = quarter.decode(value)
            samples[serial].append(kept.samples)
            # The samples of settled quarters are gone; what there were of windows cannot be told from them.
            observed.all_windows = observed.all_windows and not kept.settled
    for serial, state in states.items():
        for start_ms, section in minutes_of(ordered(*samples[serial], state.open).data):
            observed.windows[serial, start_ms] = metrics_of(thaw(state, section))
    return observed


def minutes_of(samples: bytes) -> Iterator[tuple[int, bytearray]]:
    """Start and statistics of every minute of ordered samples."""
    rest = samples
    while rest:
        start_ms = first_ms(rest) // MINUTE_MS * MINUTE_MS
        minute, rest = split(rest, start_ms + MINUTE_MS)
        section = new_section(start_ms)
        add_samples(section, minute)
        yield start_ms, section


def metrics_of(accumulators: Accumulators) -> Metrics:
    """Statistics by metric, as they are compared."""
    # What is in a state has been reported at least once, so nothing in it is None.
    return {name: cast(Mapping[str, float], statistics_view(each)) for name, each in accumulators.items()}


def faust(run: Run) -> Observed:
    """JSON tables: keys are serial numbers, or pairs of one and its window."""
    observed = Observed(ends=_committed(run))
    for (_, key), value in _last_values(run, f"{run.run_id}-devices-changelog").items():
        observed.totals[_text(key)] = orjson.loads(value)
    for (_, key), value in _last_values(run, f"{run.run_id}-minutes-changelog").items():
        observed.windows[_faust_window(key)] = orjson.loads(value)
    return observed


def _faust_window(key: bytes) -> tuple[str, int]:
    parsed = orjson.loads(key) if key[:1] == b"[" else _text(key)
    if isinstance(parsed, str):
        serial, minute = parsed.split("|")
        return serial, int(datetime.fromisoformat(minute + ":00+00:00").timestamp() * 1000)
    serial, (start, _) = parsed
    return _text(serial.encode()), int(start * 1000)


def kafka_streams(run: Run) -> Observed:
    """Both stores, in whichever of the two formats."""
    observed = Observed(ends=_committed(run))
    for (_, key), value in _last_values(run, f"{run.run_id}-devices-changelog").items():
        observed.totals[key.decode()] = _java_metrics(value)
    for (_, key), value in _last_values(run, f"{run.run_id}-minutes-changelog").items():
        # The key of a window ends with its start and a sequence number.
        serial, start = key[:-12].decode(), int.from_bytes(key[-12:-4], "big")
        observed.windows[serial, start] = _java_metrics(value)
    return observed


def _java_metrics(value: bytes) -> Metrics:
    if value[:1] == b"{":
        return orjson.loads(value)
    fields = ("count", "sum", "min", "max", "last")
    return {name: dict(zip(fields, values, strict=True)) for name, values in zip(METRICS, _METRIC.iter_unpack(value), strict=True)}


def quix(run: Run) -> Observed:
    """One changelog for the state of devices, one for windows; a closed window is deleted."""
    observed = Observed(ends=_committed(run), all_windows=False)
    for topic in _topics(run):
        for (_, key), value in _last_values(run, topic).items():
            serial = _SERIAL.search(key)
            if serial is None or not value.startswith(b"{"):
                continue
            if topic.endswith("--default"):
                observed.totals[serial[0].decode()] = orjson.loads(value)
            else:
                observed.windows[serial[0].decode(), _quix_window_start(key)] = orjson.loads(value)
    return observed


def _quix_window_start(key: bytes) -> int:
    return int.from_bytes(key[-17:-9], "big")


def from_file(path: Path, dataset: Dataset) -> Observed:
    """Lines of JSON that a peer has written at the end of a topic that it read completely; the last line of a device counts."""
    observed = Observed(ends={partition: len(events) for partition, events in enumerate(dataset.partitions)})
    with path.open("rb") as lines:
        for line in lines:
            found = json.loads(line)
            start = found.get("windowStart")
            if start is None:
                observed.totals[found["serialNumber"]] = found["metrics"]
            else:
                start_ms = int(datetime.fromisoformat(start).timestamp() * 1000)
                observed.windows[found["serialNumber"], start_ms] = found["metrics"]
    return observed


def _text(key: bytes) -> str:
    return orjson.loads(key) if key[:1] == b'"' else key.decode()


def _topics(run: Run) -> list[str]:
    consumer = _consumer(run)
    try:
        return [name for name in consumer.list_topics(timeout=30).topics if run.run_id in name]
    finally:
        consumer.close()


def _committed(run: Run) -> dict[int, int]:
    consumer = _consumer(run)
    try:
        wanted = [TopicPartition(run.topic, partition) for partition in range(run.partitions)]
        return {tp.partition: max(tp.offset, 0) for tp in consumer.committed(wanted, timeout=30)}
    finally:
        consumer.close()


def _last_values(run: Run, topic: str, is_wanted: Callable[[bytes], bool] = lambda _: True) -> dict[tuple[int, bytes], bytes]:
    """The last value of every wanted key by partition, without the deleted ones."""
    last: dict[tuple[int, bytes], bytes] = {}
    for partition, key, value in _records(run, topic):
        if not is_wanted(key):
            continue
        if value is None:
            last.pop((partition, key), None)
        else:
            last[partition, key] = value
    return last


def _records(run: Run, topic: str) -> Iterator[tuple[int, bytes, bytes | None]]:
    consumer = _consumer(run)
    try:
        open_partitions = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in open_partitions])
        while open_partitions:
            yield from _read(consumer.consume(_READ_AT_ONCE, _POLL_S), open_partitions)
    finally:
        consumer.close()


def _read(messages: Iterable, open_partitions: set[int]) -> Iterator[tuple[int, bytes, bytes | None]]:
    for message in messages:
        error = message.error()
        if error is None:
            yield message.partition(), message.key(), message.value()
        elif error.code() == KafkaError._PARTITION_EOF:
            open_partitions.discard(message.partition())
        else:
            raise RuntimeError(f"cannot read a changelog: {error}")


def _consumer(run: Run) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": run.broker,
            # The group whose offsets are asked for; it is never joined.
            "group.id": run.run_id,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 2,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )

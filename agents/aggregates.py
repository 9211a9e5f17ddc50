"""Agent `aggregates`: telemetry -> statistics and windows per device -> `device-aggregates`, and parts of the windows of sites."""

from collections.abc import Iterable
from functools import partial
from typing import cast

from agents.quiet_devices import quiet_devices_of, watch
from ems_streams.domain.aggregate_events import SitePart, device_event
from ems_streams.domain.aggregates import DeviceAggregates, fold, fold_usual
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.fold_outcome import Outcome
from ems_streams.domain.identifiers import telemetry_identity
from ems_streams.domain.promotions import PROMOTED_HEADER, decode_promotion, promote
from ems_streams.domain.telemetry_record import TelemetryRecord, decode_telemetry_record
from ems_streams.domain.window_closing import settle
from ems_streams.domain.windows import WindowPolicy
from ems_streams.kafka.batching import Headers
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_TELEMETRY, INGRESS_HEARTBEATS, SITE_PARTS, WINDOW_PROMOTIONS
from ems_streams.kafka.dead_letters import defect, good_records, publish_dead_letter, publish_late
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings
from ems_streams.windowing import window_policy
from tables.device_aggregates import DeviceQuarters, Record, state_of

NAME = "aggregates"
SOURCES = (DEVICE_TELEMETRY, INGRESS_HEARTBEATS, WINDOW_PROMOTIONS)


def agent(table: StateTable[Record], settings: Settings) -> BatchAgent[Record]:
    """The agent on its table; live reads do not wait for its commits, so they may be seldom."""
    policy = window_policy(settings)
    return BatchAgent(
        NAME,
        SOURCES,
        table,
        partial(fold_sources, policy=policy, partitions=settings.partitions),
        settings.aggregates_commit_interval_s,
        partial(publish_windows, policy=policy, partitions=settings.partitions),
    )


def fold_sources(batch: RecordBatch, start: int, partition: PartitionState[Record], *, policy: WindowPolicy, partitions: int) -> None:
    """As `fold_batch`, and take in what replays promote: a record is all windows of one device, published in one transaction."""
    if batch.topic != WINDOW_PROMOTIONS:
        fold_batch(batch, start, partition, policy=policy)
        return
    for _, promotion in good_records(batch, decode_promotion, start, partition, NAME):
        key = promotion.key
        known = state_of(partition, key)
        # A device that live has never heard of gets windows and no state.
        state = known or DeviceAggregates(promotion.serial_number, promotion.device_id, promotion.site_id, promotion.device_type)
        headers = [(PROMOTED_HEADER, promotion.replay.encode())]
        for result in promote(state, DeviceQuarters(partition, key), promotion, policy):
            _publish(partition, state, result, policy, partitions, headers=headers)
        if known is not None:
            partition.put(key, known)


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[Record], *, policy: WindowPolicy) -> None:
    """Fold telemetry into the devices' statistics, and let time go on by heartbeats for devices that are quiet."""
    if batch.topic == INGRESS_HEARTBEATS:
        watch(partition, policy).take_heartbeats(batch, start, NAME)
        return
    woken = _fold_telemetry(batch, start, partition, policy)
    if (quiet_devices := quiet_devices_of(partition)) is not None:
        quiet_devices.take_telemetry(batch, start, woken)


def _fold_telemetry(batch: RecordBatch, start: int, partition: PartitionState[Record], policy: WindowPolicy) -> list[bytes]:
    """What is malformed, or too late for every window, goes to topics of its own; gives the devices that were quiet, or new."""
    woken: list[bytes] = []
    due: list[bytes] = []
    changed = partition.changed()
    for records, events in batch.decoded_pieces(decode_telemetry_record, start):
        at = 0
        while (at := fold_usual(records, events, at, changed, policy, due)) < len(records):
            record, event = records[at], events[at]
            at += 1
            error = defect(record, event)
            if error is not None:
                publish_dead_letter(partition, batch, record, error, NAME)
                continue
            telemetry = cast(TelemetryRecord, event)
            key = telemetry.key
            state = state_of(partition, key) or DeviceAggregates(telemetry.serial_number)
            if not state.open or state.watermark_ms > state.newest_ms:
                woken.append(key)
            identity = telemetry_identity(telemetry.message_id, record.value or b"")
            outcome = fold(state, telemetry, identity, record.offset, record.timestamp, policy)
            partition.put(key, state)
            if outcome is Outcome.DUE:
                due.append(key)
            elif outcome is Outcome.LATE:
                publish_late(partition, batch, record, state.watermark_ms)
    # At the most; a device that is marked stays so, and each of its messages may close another minute.
    partition.mark_all(due, 1 if policy.published else 0)
    return woken


def publish_windows(partition: PartitionState[Record], keys: Iterable[bytes], *, policy: WindowPolicy, partitions: int) -> None:
    """Publish the windows of devices that are closed or corrected; once per commit, so that a burst of late messages makes one revision."""
    for key in keys:
        state = state_of(partition, key)
        assert state is not None, "only devices that have a state are marked"
        for result in settle(state, DeviceQuarters(partition, key), policy):
            _publish(partition, state, result, policy, partitions)
        partition.put(key, state)


def _publish(
    partition: PartitionState[Record],
    state: DeviceAggregates,
    result: WindowResult,
    policy: WindowPolicy,
    partitions: int,
    *,
    headers: Headers = (),
) -> None:
    zone = policy.zone_of(state.site_id)
    key = state.serial_number.encode()
    partition.publish(DEVICE_AGGREGATES, key, device_event(state, result, None if zone is None else zone.key), headers)
    part = SitePart(state.site_id, state.serial_number, result.window, result.span, result.revision, result.summary)
    partition.publish(SITE_PARTS, part.key, part.encode(), partition=partition_for(part.key, partitions))

"""Agent `sites`: windows of devices -> windows of their sites on `site-aggregates`, and who is at which site."""

from collections.abc import Iterable
from functools import partial

from ems_streams.domain.aggregate_events import site_key
from ems_streams.domain.site_events import site_event
from ems_streams.domain.site_membership import Joined, Left, decode_site_record, locate
from ems_streams.domain.site_records import SiteRecord
from ems_streams.domain.site_windows import SiteFold, SitePolicy, site_ids, tick
from ems_streams.kafka.catalogue import INGRESS_HEARTBEATS, SITE_AGGREGATES, SITE_PARTS
from ems_streams.kafka.dead_letters import good_records
from ems_streams.kafka.engine import BatchAgent
from ems_streams.kafka.heartbeats import HeartbeatGate, heartbeats
from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.settings import Settings
from ems_streams.windowing import site_policy

NAME = "sites"
SOURCES = (SITE_PARTS, INGRESS_HEARTBEATS)


def agent(table: StateTable[SiteRecord], settings: Settings) -> BatchAgent[SiteRecord]:
    """The agent on its table; live reads do not wait for its commits, so they may be seldom."""
    policy = site_policy(settings)
    return BatchAgent(
        NAME,
        SOURCES,
        table,
        partial(fold_batch, policy=policy, partitions=settings.partitions),
        settings.aggregates_commit_interval_s,
        partial(publish_windows, policy=policy, partitions=settings.partitions),
    )


def fold_batch(batch: RecordBatch, start: int, partition: PartitionState[SiteRecord], *, policy: SitePolicy, partitions: int) -> None:
    """Take what devices say into the windows of their sites, keep who is where, and let time go on for sites that are quiet."""
    if batch.topic == INGRESS_HEARTBEATS:
        _let_time_pass(batch, start, partition, policy)
        return
    for record, event in good_records(batch, decode_site_record, start, partition, NAME):
        if isinstance(event, Joined):
            left = locate(event, partition)
            if left is not None:
                partition.publish(SITE_PARTS, left.key, left.encode(), partition=partition_for(left.key, partitions))
            continue
        site = SiteFold(event.site_id, partition, policy)
        if isinstance(event, Left):
            site.leave(event)
        else:
            site.take(event, record.timestamp)
        partition.mark(event.key)


def _let_time_pass(batch: RecordBatch, start: int, partition: PartitionState[SiteRecord], policy: SitePolicy) -> None:
    """Close the windows of sites from which nothing came any more, by the time up to which everything is folded."""
    gate = partition.derived.get(NAME)
    if gate is None:
        gate = partition.derived[NAME] = HeartbeatGate(SITE_PARTS)
    # What is no heartbeat is put aside by the aggregates agent.
    for record, heartbeat in heartbeats(batch, start, partition, None):
        gate.take(record, heartbeat)
    now_ms = gate.advance(partition.positions.get(SITE_PARTS, -1))
    if now_ms is None:
        return
    for site_id in site_ids(partition):
        if tick(site_id, now_ms, partition, policy):
            partition.mark(site_key(site_id))


def publish_windows(partition: PartitionState[SiteRecord], keys: Iterable[bytes], *, policy: SitePolicy, partitions: int) -> None:
    """Publish the windows of sites that are closed or corrected; once per commit, so that a burst of parts makes one revision."""
    for key in keys:
        site_id = int(key)
        zone = policy.windows.zone_of(site_id)
        settled = SiteFold(site_id, partition, policy).settle()
        for window in settled.windows:
            partition.publish(SITE_AGGREGATES, key, site_event(site_id, window, None if zone is None else zone.key))
        for joined in settled.joined:
            partition.publish(SITE_PARTS, joined.key, joined.encode(), partition=partition_for(joined.key, partitions))

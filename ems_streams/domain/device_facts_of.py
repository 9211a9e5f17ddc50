"""From the states that a worker keeps of a device to the facts that explain it; times are passed in."""

import math
from collections.abc import Iterable
from datetime import datetime

from ems_streams.domain.aggregates import DeviceAggregates
from ems_streams.domain.device_facts import FlappingFacts, MaintenanceFacts, MessageFacts, Place, SilenceFacts, StatusFacts
from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.fold_outcome import NEVER_MS as NO_TIME_MS
from ems_streams.domain.fold_outcome import RECENT_IDENTITIES
from ems_streams.domain.identifiers import IDENTITY_BYTES
from ems_streams.domain.maintenance import Device, MaintenanceWindow, MaintenanceWindows
from ems_streams.domain.notices import DeviceNotices
from ems_streams.domain.silence import Listening, SilencePolicy, due_ms
from ems_streams.domain.status import DeviceStatusState
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.domain.windows import WindowPolicy


def time_or_none(moment_ms: int) -> datetime | None:
    """The time, unless it stands for none."""
    return from_epoch_ms(moment_ms) if 0 < moment_ms < NEVER_MS else None


def status_facts(state: DeviceStatusState, partition: int) -> StatusFacts:
    """The status, and what it rests on."""
    evidence = Place(topic=state.evidence_topic, partition=state.evidence_partition, offset=state.evidence_offset)
    heard = Place(topic=state.heard_topic, partition=partition, offset=state.heard_offset)
    return StatusFacts(
        status=state.status,
        previous_status=state.previous_status,
        since=from_epoch_ms(state.status_since_ms),
        reason=state.reason,
        cause=state.cause,
        error_code=state.error_code,
        sequence=state.sequence,
        evidence=evidence if state.evidence_topic else None,
        last_seen=from_epoch_ms(state.last_seen_ms),
        # Of a state that a release before wrote, the time is a stopgap.
        heard_at=from_epoch_ms(state.heard_ms) if state.heard_topic else None,
        heard=heard if state.heard_topic else None,
        last_report=state.last_report_status,
        last_report_at=None if state.last_report_ms is None else from_epoch_ms(state.last_report_ms),
    )


def silence_facts(state: DeviceStatusState, listening: Listening, policy: SilencePolicy) -> SilenceFacts:
    """What is counted towards its silence."""
    by_type = state.device_type in policy.by_type_ms
    return SilenceFacts(
        timeout_s=policy.timeout_ms(state) / 1000,
        decided_by="registry" if state.silence_timeout_ms is not None else "type" if by_type else "default",
        listening_since=time_or_none(listening.since_ms),
        listened_until=time_or_none(listening.until_ms),
        due_at=time_or_none(due_ms(state, listening.since_ms, policy)),
    )


def flapping_facts(notices: DeviceNotices, policy: FlappingPolicy, now_ms: int) -> FlappingFacts:
    """How often its status has changed lately, as of a time."""
    score = notices.score * math.exp2(-max(now_ms - notices.scored_ms, 0) / policy.half_life_ms)
    flapping = notices.flapping_since_ms is not None
    return FlappingFacts(
        score=round(score, 3),
        threshold=policy.threshold,
        reuse=policy.reuse,
        half_life_s=policy.half_life_ms / 1000,
        since=None if notices.flapping_since_ms is None else from_epoch_ms(notices.flapping_since_ms),
        changes=notices.changes_while_flapping if flapping else 0,
        still_at=from_epoch_ms(notices.scored_ms + policy.still_after_ms(notices.score)) if flapping else None,
        told_status=notices.told_status,
        held_back_by=notices.held_back_by,
    )


def maintenance_facts(windows: MaintenanceWindows, device: Device, now_ms: int) -> tuple[MaintenanceFacts, ...]:
    """Windows that a device is in, or will be, by their begin."""
    found = [each for each in windows.by_id.values() if each.covers(device) and now_ms < each.ends_ms]
    return tuple(_maintenance(each.window, each.starts_ms <= now_ms) for each in sorted(found, key=lambda each: each.starts_ms))


def _maintenance(window: MaintenanceWindow, active: bool) -> MaintenanceFacts:
    return MaintenanceFacts(
        window_id=window.window_id,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        reason=window.reason,
        created_by=window.created_by,
        active=active,
    )


def message_facts(state: DeviceAggregates, policy: WindowPolicy) -> MessageFacts:
    """What became of its telemetry."""
    watermark_ms = state.watermark_ms
    return MessageFacts(
        duplicates=state.duplicate_events,
        late=state.late_events,
        future=state.future_events,
        left_out_values=state.left_out_values,
        newest_at=time_or_none(state.newest_ms),
        watermark_at=time_or_none(watermark_ms),
        late_before=None if watermark_ms == NO_TIME_MS else time_or_none(watermark_ms - policy.horizon_ms),
        remembered_ids=min(len(state.recent) // IDENTITY_BYTES, RECENT_IDENTITIES),
    )


def folded_of(positions: Iterable[tuple[str, dict[str, int]]]) -> dict[str, int]:
    """Positions of agents as `agent/topic`."""
    return {f"{agent}/{topic}": offset for agent, each in positions for topic, offset in sorted(each.items())}

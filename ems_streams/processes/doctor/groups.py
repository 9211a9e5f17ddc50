"""Checks of consumer groups: members, partitions that nobody has, and how old the oldest record is that was not read."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from aiokafka import TopicPartition as ReadPartition
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ems_streams.app import SOURCE_TOPICS
from ems_streams.channels.changelog import notifier_group
from ems_streams.channels.config_file import ChannelsFileError, load_channels
from ems_streams.channels.status import channels_status
from ems_streams.kafka.admin import catalogue_of, client_config
from ems_streams.kafka.range_reader import positioned_consumer
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.group_findings import GroupState, Place, lag_findings, member_findings
from ems_streams.postgres.rows import TOPICS as SINK_TOPICS
from ems_streams.processes.doctor.context import Context
from ems_streams.settings import Settings

ANSWER_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 5.0
_READ_MAX = 64
"""Partitions of which the oldest unread record is looked at; more say nothing new."""
_COORDINATOR_MOVES = frozenset({"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"})
_MOVE_PAUSE_S = 0.2
_NO_SUCH_GROUP = frozenset({"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"})

T = TypeVar("T")


async def check_workers(context: Context) -> Report:
    """The group of the workers."""
    settings = context.settings
    # What a compacted topic has is as old as it may be, and no work that waits.
    topics = [topic.name for topic in catalogue_of(settings) if topic.name in SOURCE_TOPICS and not topic.compacted]
    return await _check_group(context, settings.application_id, "workers-none", topics)


async def check_sink(context: Context) -> Report:
    """The group of the sinks; it commits its positions for figures such as these."""
    return await _check_group(context, context.settings.sink_group, "sink-none", SINK_TOPICS)


async def check_notifier(context: Context) -> Report:
    """The group of the notifiers, and each channel; nothing without a file of channels."""
    settings = context.settings
    if settings.channels_file is None:
        return Report(facts={"channels": "none"})
    try:
        config = load_channels(settings.channels_file, None)
    except ChannelsFileError:
        return Report(facts={"channels": "the file cannot be used"})  # the check of the settings says why
    state, partitions = await asyncio.to_thread(_group_state, settings, notifier_group(settings), ())
    status = await channels_status(settings, config)
    findings = [*member_findings(state, "notifier-none", partitions), *_channel_findings(status.channels)]
    facts = {"members": len(state.members), "channels": len(config.channels), "lag": sum(each["lag"] for each in status.channels)}
    return Report(findings, facts)


async def _check_group(context: Context, group: str, nobody: str, topics: Iterable[str]) -> Report:
    state, partitions = await asyncio.to_thread(_group_state, context.settings, group, topics)
    state = replace(state, waiting_since_s=await _waiting_since_s(context.settings, state))
    findings = [*member_findings(state, nobody, partitions), *lag_findings(state, context.now_s())]
    facts = {"members": len(state.members), "lag": state.lag(), "behindS": round(state.behind_s(context.now_s()), 1)}
    return Report(findings, facts, usable=bool(state.members))


def members_of(settings: Settings, group: str) -> list[str]:
    """Instance ids of a group's members, or client ids of those without."""
    return list(_describe(AdminClient(client_config(settings)), group)[1])


def _group_state(settings: Settings, group: str, topics: Iterable[str]) -> tuple[GroupState, dict[str, int]]:
    """The group without its unread records, and the partitions of all topics; it reads `topics`, also while it has no position in them."""
    admin = AdminClient(client_config(settings))
    name, members = _describe(admin, group)
    partitions = {topic: len(entry.partitions) for topic, entry in admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics.items()}
    positions = {place: offset for place, offset in _positions(admin, group).items() if place[0] in partitions}
    read = {(topic, number) for topic in topics for number in range(partitions.get(topic, 0))}
    places = sorted({*positions, *read, *(place for assigned in members.values() for place in assigned)})
    begins, ends = (_offsets(admin, places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))  # type: ignore[no-untyped-call]
    return GroupState(group, name, members, positions, begins, ends), partitions


def _patiently(ask: Callable[[], T]) -> T | None:
    """The answer of a group's coordinator, which may just be moving, or be made for the first group ever; None when there is no such group.

    Nobody is told when it has moved, so it is asked again after a pause: for a thread, not for the event loop.
    """
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            name = error.args[0].name()
            if name in _NO_SUCH_GROUP:
                return None
            if name not in _COORDINATOR_MOVES or time.monotonic() > deadline_s:
                raise
        time.sleep(_MOVE_PAUSE_S)


def _describe(admin: AdminClient, group: str) -> tuple[str, dict[str, frozenset[Place]]]:
    def ask() -> Any:
        return admin.describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT_S)[group].result(ANSWER_TIMEOUT_S + 1)

    described = _patiently(ask)
    if described is None:
        return "DEAD", {}
    members = {
        each.group_instance_id or f"{each.client_id} {each.member_id}": frozenset(
            (tp.topic, tp.partition) for tp in each.assignment.topic_partitions
        )
        for each in described.members
    }
    return str(getattr(described.state, "name", described.state)), members


def _positions(admin: AdminClient, group: str) -> dict[Place, int]:
    def ask() -> list[TopicPartition]:
        futures = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_TIMEOUT_S)
        return futures[group].result(ANSWER_TIMEOUT_S + 1).topic_partitions or []

    return {(tp.topic, tp.partition): tp.offset for tp in _patiently(ask) or [] if tp.offset >= 0}


def _offsets(admin: AdminClient, places: Iterable[Place], spec: OffsetSpec) -> dict[Place, int]:
    wanted = {TopicPartition(*place): spec for place in places}
    if not wanted:
        return {}
    futures = admin.list_offsets(wanted, request_timeout=ANSWER_TIMEOUT_S)
    return {(tp.topic, tp.partition): future.result(ANSWER_TIMEOUT_S + 1).offset for tp, future in futures.items()}


async def _waiting_since_s(settings: Settings, state: GroupState) -> dict[Place, float]:
    """When the first record behind each position was written; where only markers of transactions are, there is none."""
    starts = {place: max(state.positions.get(place, 0), state.begins.get(place, 0)) for place, end in state.ends.items()}
    behind = {ReadPartition(*place): start for place, start in starts.items() if start < state.ends[place]}
    pending = dict(sorted(behind.items(), key=lambda item: item[1] - state.ends[tuple(item[0])])[:_READ_MAX])
    found: dict[Place, float] = {}
    if not pending:
        return found
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    async with positioned_consumer(settings, records_max=1000) as consumer:
        consumer.assign(list(pending))
        for tp, start in pending.items():
            consumer.seek(tp, start)
        while pending and time.monotonic() < deadline_s:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                found.setdefault((tp.topic, tp.partition), records[0].timestamp / 1000)
            for tp in list(pending):
                if (tp.topic, tp.partition) in found or await consumer.position(tp) >= state.ends[tp.topic, tp.partition]:
                    consumer.pause(tp)
                    del pending[tp]
    return found


def _channel_findings(channels: Iterable[dict[str, Any]]) -> Iterable[Finding]:
    for each in channels:
        if each["breaker"] not in {"CLOSED", "closed", ""} and each["lastError"]:
            name = each["channel"]
            found = f"breaker {each['breaker']}, {each['open']} deliveries open: {each['lastError']}"
            yield finding("channel-stuck", f"the channel {name} does not deliver", found=found, expected="breaker closed", channel=name)

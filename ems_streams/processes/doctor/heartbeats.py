"""Check of the ingresses, and of the clocks of the brokers, by heartbeats: the last ones, and the next one."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from ems_streams.domain.heartbeat import decode_heartbeat
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import INGRESS_HEARTBEATS
from ems_streams.kafka.range_reader import partitions_of, positioned_consumer
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.heartbeat_findings import Beat, heartbeat_findings
from ems_streams.processes.doctor.context import Context

_LAST_RECORDS = 16
_MARGIN_S = 1.5
_LONGEST_S = 15.0
"""Within the deadline of a check. Of longer intervals the last heartbeat says by its age whether the next one is late."""


async def check_ingress(context: Context) -> Report:
    """Waits for a heartbeat for two intervals and a little; all partitions get the same, so the first one is enough."""
    within_s = 2 * context.settings.heartbeat_interval_s + _MARGIN_S
    waited_s = min(within_s, _LONGEST_S)
    beats: list[Beat] = []
    async with positioned_consumer(context.settings, records_max=100) as consumer:
        tp = (await partitions_of(consumer, INGRESS_HEARTBEATS))[0]
        end = (await consumer.end_offsets([tp]))[tp]
        begin = (await consumer.beginning_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, max(begin, end - _LAST_RECORDS))
        try:
            async with asyncio.timeout(waited_s):
                while not any(each.arrived_s is not None for each in beats):
                    beats += await _next(context, consumer, tp, end)
        except TimeoutError:
            pass
    newest = max((each.stored_s for each in beats), default=None)
    fresh = [each for each in beats if each.arrived_s is not None]
    facts = {"ingresses": len({each.ingress_id for each in fresh})}
    if fresh and newest is not None:
        facts["brokerClockAheadMs"] = round((fresh[-1].stored_s - (fresh[-1].arrived_s or 0.0)) * 1000)
    return Report(list(heartbeat_findings(beats, within_s, waited_s, context.now_s())), facts)


async def _next(context: Context, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> list[Beat]:
    found = []
    for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
        try:
            heartbeat = decode_heartbeat(record.value)
        except MalformedError:
            continue
        arrived_s = context.now_s() if record.offset >= end else None
        found.append(Beat(heartbeat.ingress_id, heartbeat.timestamp.timestamp(), record.timestamp / 1000, arrived_s))
    return found

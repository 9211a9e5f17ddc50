"""The heartbeats of an ingress into Kafka: that it is alive, and how far telemetry goes, in every partition.

Everything here has clients of its own, so that messages never wait for a heartbeat, and a heartbeat that fails harms no message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.kafka.catalogue import DEVICE_COMMAND_ACKS, DEVICE_STATUS_REPORTS, DEVICE_TELEMETRY, INGRESS_HEARTBEATS
from ems_streams.kafka.client import client_options
from ems_streams.kafka.outbox import KafkaOutbox, Record
from ems_streams.kafka.record_ends import RecordEnds
from ems_streams.metrics.ingress import HEARTBEATS
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

IN_STEP_WITHIN_S: Final = 2.0
"""Longest time that a message may be on its way from MQTT into Kafka with the ingress still counting as alive."""
ANSWER_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 3.0
REPORTED_AFTER_S: Final = 30.0
TOLD: Final = (DEVICE_TELEMETRY, DEVICE_STATUS_REPORTS, DEVICE_COMMAND_ACKS)
"""Topics of which a heartbeat says how far they go."""


class Pulse:
    """Beats by an interval while the ingress is in step with the MQTT broker, and not at all otherwise.

    Guarantees: when a heartbeat is there, what had reached the ingress before the heartbeat's time, and what others had written by then, is
    on `device-telemetry` before its `telemetry_end`, on `device-status-reports` before its `reports_end`, and on `device-command-acks` before its
    `acks_end`. It may come late, after an outage of Kafka; what it says of its time stays true.

    Args:
        settings: Where Kafka is, who we are, and how often.
        in_step: Whether all that had come from MQTT when it was called is in Kafka within so many seconds.
    """

    def __init__(self, settings: Settings, in_step: Callable[[float], Awaitable[bool]]) -> None:
        self._settings = settings
        self._in_step = in_step
        self._outbox = KafkaOutbox(settings, (*TOLD, INGRESS_HEARTBEATS), client_id=f"{settings.ingress_id}-heartbeats")
        self._offsets: AIOKafkaConsumer | None = None
        self._record_ends = RecordEnds(settings, f"{settings.ingress_id}-record-ends")
        self._seen_ends: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, however long Kafka takes to be there, and begin; raises `TopicsMissingError`."""
        await self._outbox.start()
        self._task = asyncio.create_task(self._beat_for_ever(), name="heartbeats")

    async def stop(self) -> None:
        """End within a few seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(self._outbox.stop(), self._close_offsets(), self._record_ends.stop())

    async def _beat_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        beaten_s = loop.time()
        reported = False
        while True:
            # Not by a fixed schedule: after a beat that waited for Kafka the next one has time.
            await asyncio.sleep(self._settings.heartbeat_interval_s)
            if await self._beat_or_say():
                HEARTBEATS.inc()
                beaten_s = loop.time()
                if reported:
                    log.info("heartbeats_resumed")
                reported = False
            elif not reported and loop.time() - beaten_s > REPORTED_AFTER_S:
                log.warning("heartbeats_paused", reason="not in step with the MQTT broker, or Kafka does not answer")
                reported = True

    async def _beat_or_say(self) -> bool:
        try:
            return await self._beat()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last heartbeat without a word
            log.error("heartbeat_failed", error=repr(error))
            return False

    async def _beat(self) -> bool:
        """One heartbeat in every partition, if we are alive; whether it was."""
        # Before anything is looked at: it is this moment that the heartbeat speaks of.
        now = datetime.now(UTC)
        if not await self._in_step(IN_STEP_WITHIN_S):
            return False
        try:
            ends = await self._ends()
        except (KafkaError, OSError, TimeoutError) as error:
            log.debug("offsets_unknown", error=repr(error))
            await self._close_offsets()
            return False
        numbers = {tp.partition for tp in ends}
        await self._outbox.deliver(
            self._record(now, number, *(ends[TopicPartition(topic, number)] for topic in TOLD)) for number in sorted(numbers)
        )
        return True

    def _record(self, now: datetime, partition: int, telemetry_end: int, reports_end: int, acks_end: int) -> Record:
        moment = now.replace(microsecond=now.microsecond // 1000 * 1000)
        ingress_id = self._settings.ingress_id
        heartbeat = Heartbeat(
            ingress_id=ingress_id, timestamp=moment, telemetry_end=telemetry_end, reports_end=reports_end, acks_end=acks_end
        )
        return Record(INGRESS_HEARTBEATS, None, heartbeat.encode(), partition=partition)

    async def _ends(self) -> dict[TopicPartition, int]:
        """Next offset of telemetry, reports and answers in each partition, as the brokers say now; 0 where retention has left nothing to be read.

        In a partition that has stood still since the last heartbeat it is the one behind the last record: what comes behind that, such as the
        marker of a transaction, nobody can fold. Where something comes all the time a marker is of no matter.
        """
        partitions = min(self._outbox.partitions_of(topic) for topic in (*TOLD, INGRESS_HEARTBEATS))
        wanted = [TopicPartition(topic, number) for topic in TOLD for number in range(partitions)]
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._offsets is None:
                self._offsets = AIOKafkaConsumer(**client_options(self._settings), client_id=f"{self._settings.ingress_id}-offsets")
                await self._offsets.start()
            ends = await self._offsets.end_offsets(wanted)
            begins = await self._offsets.beginning_offsets(wanted)
        still = {tp: end for tp, end in ends.items() if end > begins[tp] and self._seen_ends.get(tp) == end}
        self._seen_ends = dict(ends)
        ends = {**ends, **await self._record_ends.of(still)}
        return {tp: end if end > begins[tp] else 0 for tp, end in ends.items()}

    async def _close_offsets(self) -> None:
        offsets, self._offsets = self._offsets, None
        if offsets is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await offsets.stop()
        except (KafkaError, OSError):
            log.debug("offsets_client_not_closed")

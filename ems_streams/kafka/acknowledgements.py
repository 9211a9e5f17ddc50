"""Acknowledgements of alarms on their topic, from outside: each is one record, in the partition of its device."""

import asyncio
from typing import Final

from ems_streams.domain.alarms import Acknowledgement
from ems_streams.kafka.catalogue import ALARM_ACKNOWLEDGEMENTS
from ems_streams.kafka.outbox import KafkaOutbox, Record
from ems_streams.kafka.refusals import unreachable
from ems_streams.settings import Settings

PUBLISH_TIMEOUT_S: Final = 5.0


async def publish_acknowledgement(settings: Settings, acknowledgement: Acknowledgement) -> None:
    """Return when Kafka has it; raises `EmsError`, after which it may be there all the same: to take note once more does no harm.

    No transaction: it is one record, and each transactional id is remembered by the brokers for days.
    """
    outbox = KafkaOutbox(settings, (ALARM_ACKNOWLEDGEMENTS,), client_id="ems-gateway-acknowledgements")
    try:
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            await outbox.start()
            await outbox.deliver([Record(ALARM_ACKNOWLEDGEMENTS, acknowledgement.key, acknowledgement.encode())])
    except TimeoutError:
        raise unreachable(settings) from None
    finally:
        await outbox.stop()

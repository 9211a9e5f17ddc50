"""A test message: what a channel would send, to nobody's alarm, and past Kafka."""

import asyncio
import uuid
from collections.abc import Mapping

from ems_streams.channels.runner import make_sender
from ems_streams.domain.channel_config import ChannelsConfig
from ems_streams.domain.deliveries import Chain, Message, Outcome, Source
from ems_streams.domain.events import Notification, NotificationKind, Severity
from ems_streams.domain.timestamps import from_epoch_ms


async def send_test(name: str, config: ChannelsConfig, environ: Mapping[str, str], now_s: float) -> tuple[str, Outcome, float]:
    """Make one attempt; gives the id of the message, what came of it, and how long it took in seconds."""
    notification = Notification(
        notification_id=f"test-{uuid.uuid4().hex}",
        kind=NotificationKind.STATUS_CHANGE,
        severity=Severity.INFO,
        serial_number="TEST",
        site_id=0,
        device_id=0,
        title=f"Test of the channel {name}",
        message="Somebody has tried whether notifications arrive here. No device has changed.",
        timestamp=from_epoch_ms(round(now_s * 1000)),
        data={"test": True},
    )
    chain = Chain(notification, notification.encode(), Source(0, 0, round(now_s * 1000), b"TEST"), number=0, attempts=1)
    sender = make_sender(name, config, environ)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        outcome = await sender.send(Message(notification.notification_id, (chain,)), now_s)
    finally:
        await sender.close()
    return notification.notification_id, outcome, loop.time() - began_s

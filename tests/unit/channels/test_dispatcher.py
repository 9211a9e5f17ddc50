"""An attempt is made only by who has the channel, as far as Kafka can tell."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, cast

import pytest

from ems_streams.channels import dispatcher as module
from ems_streams.channels.dispatcher import Dispatcher
from ems_streams.channels.journal import Journal
from ems_streams.domain.channel_config import WebhookChannel
from ems_streams.domain.deliveries import Deliveries, Message, Outcome, Source
from ems_streams.domain.events import Notification
from ems_streams.kafka.transactions import FencedError
from tests.support.sink import notification_of

CONFIRM_AFTER_S = 0.1
CHANNEL = WebhookChannel.model_validate({"type": "webhook", "url": "http://127.0.0.1:1/hook", "secret_env": "SECRET"})


class Writer:
    """Answers the first commit after so long, and refuses later ones if another has the channel by then."""

    def __init__(self, first_takes_s: float, *, lost: bool) -> None:
        self.commits = 0
        self._first_takes_s = first_takes_s
        self._lost = lost

    async def commit(self, records: Mapping[Any, Any]) -> dict[Any, int]:
        self.commits += 1
        if self.commits == 1:
            await asyncio.sleep(self._first_takes_s)
        elif self._lost:
            raise FencedError("another has it")
        return {}


class Sender:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, message: Message, now_s: float) -> Outcome:
        self.sent.append(message.message_id)
        return Outcome(delivered=True)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("first_takes_s", "lost", "attempts"),
    [(0.0, False, 1), (2 * CONFIRM_AFTER_S, False, 1), (2 * CONFIRM_AFTER_S, True, 0)],
    ids=["at once", "late", "late, and another has taken the channel over"],
)
async def test_what_is_on_record_late_is_confirmed(
    monkeypatch: pytest.MonkeyPatch, first_takes_s: float, lost: bool, attempts: int
) -> None:
    monkeypatch.setattr(module, "CONFIRM_AFTER_S", CONFIRM_AFTER_S)
    deliveries, sender, writer = Deliveries(), Sender(), Writer(first_takes_s, lost=lost)
    notification = Notification.model_validate(notification_of("INV-001"))
    deliveries.take(notification, notification.encode(), Source(0, 1, 0, b"INV-001"))
    journal = Journal(cast("Any", writer), ("changelog", 0))
    dispatcher = Dispatcher("ops", CHANNEL, deliveries, sender, journal)
    async with asyncio.timeout(10):
        running = [asyncio.create_task(dispatcher.run()), asyncio.create_task(journal.run())]
        if lost:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        else:
            while deliveries.open:
                await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, FencedError):
                await task
    assert len(sender.sent) == attempts
    assert writer.commits >= (2 if first_takes_s else 1)

"""One channel, from its stored state on: reads notifications, delivers them, and starts over from what is durable when Kafka fails."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from ems_streams.channels.changelog import changelog_topic, partition_of, read_channels_state
from ems_streams.channels.dispatcher import Dispatcher
from ems_streams.channels.intake import take_in
from ems_streams.channels.journal import Journal
from ems_streams.channels.mail import MailSender
from ems_streams.channels.secrets import environment
from ems_streams.channels.sender import Sender
from ems_streams.channels.source import NotificationSource
from ems_streams.channels.webhook import WebhookSender
from ems_streams.domain.channel_config import ChannelsConfig, Start, WebhookChannel
from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.domain.deliveries import OPEN_MAX, Deliveries
from ems_streams.domain.delivery_codec import change_record, positions_record
from ems_streams.domain.stall import Progress
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.errors import EmsError
from ems_streams.kafka.transactions import FencedError, PartitionWriter
from ems_streams.metrics.notifier import RESTARTS
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

RECORDS_MAX = 500
POSITIONS_INTERVAL_S = 5.0
TELL_INTERVAL_S = 2.0
STOP_GRACE_S = 8.0
HOLD_S = 3.0
_RETRY_S = (0.5, 10.0)
_FULL_SLEEP_S = 0.05


class NotOwnerError(EmsError):
    """The group does not say that the channel is ours."""


@dataclass(slots=True)
class _Parts:
    deliveries: Deliveries
    source: NotificationSource
    journal: Journal
    dispatcher: Dispatcher


def make_sender(name: str, config: ChannelsConfig, environ: Mapping[str, str]) -> Sender:
    """What a channel sends by; the secrets must have been checked."""
    channel = config.channels[name]
    if isinstance(channel, WebhookChannel):
        return WebhookSender(channel, environ)
    return MailSender(name, channel, environ)


def transactional_id(application_id: str, channel: str) -> str:
    """Of whoever delivers for a channel; opening it fences whoever did before."""
    return f"{application_id}-deliveries-{channel}"


class ChannelRunner:
    """One channel, for as long as it is ours.

    Guarantees: a notification that the channel wants has one chain of attempts, whatever is killed or paused; an attempt is made only after it is on record.

    Args:
        confirm: Asks the group whether the channel is ours.
    """

    def __init__(self, settings: Settings, name: str, config: ChannelsConfig, confirm: Callable[[], Awaitable[bool]]) -> None:
        self.name = name
        self._settings = settings
        self._config = config
        self._channel = config.channels[name]
        self._confirm = confirm
        self._parts: _Parts | None = None
        self._stopping = False
        self._trouble = "starting"
        self._lag = 0
        self._begun = 0
        RESTARTS.labels(name)

    async def run(self) -> None:
        """Deliver until cancelled; raises what trying again does not mend, such as a state that cannot be read."""
        wait_s = _RETRY_S[0]
        while not self._stopping:
            began_s = time.monotonic()
            try:
                await self._run_once()
            except StateCodecError:
                raise
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Not ours: a Kafka client that fails may raise the cancellation of its own tasks.
                log.warning("channel_starts_over", channel=self.name, error="a Kafka client was cancelled by itself")
                await asyncio.sleep(_RETRY_S[0])
            except (EmsError, KafkaError, OSError, TimeoutError) as error:
                if time.monotonic() - began_s > _RETRY_S[1]:
                    wait_s = _RETRY_S[0]
                RESTARTS.labels(self.name).inc()
                self._trouble = str(error) or repr(error)
                log.warning("channel_starts_over", channel=self.name, error=self._trouble, fenced=isinstance(error, FencedError))
                await asyncio.sleep(wait_s * random.uniform(1.0, 1.5))  # noqa: S311 - no secret
                wait_s = min(wait_s * 2, _RETRY_S[1])

    async def hold(self) -> None:
        """Begin no attempt until `go_on`, and wait a moment for those under way: the channel may be given to another process."""
        if self._parts is not None:
            await self._parts.dispatcher.hold(HOLD_S)

    def go_on(self) -> None:
        """The channel is still ours."""
        if self._parts is not None:
            self._parts.dispatcher.go_on()

    async def finish(self) -> None:
        """Wait for the attempts under way, for at most `STOP_GRACE_S`, and make the position durable; cancel `run` then."""
        self._stopping = True
        parts = self._parts
        if parts is None:
            return
        await parts.dispatcher.hold(STOP_GRACE_S)
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await asyncio.shield(parts.journal.note([positions_record(self.name, parts.deliveries.positions)]))
        await parts.source.tell(parts.deliveries.undelivered_from())

    def view(self) -> dict[str, Any]:
        """How the channel does, for people; from memory."""
        parts = self._parts
        if parts is None:
            return {"channel": self.name, "running": False, "detail": self._trouble}
        breaker, deliveries = parts.dispatcher.breaker, parts.deliveries
        return {
            "channel": self.name,
            "running": True,
            "breaker": str(breaker.state),
            "detail": breaker.reason,
            "open": len(deliveries.open),
            "retrying": sum(1 for chain in deliveries.open.values() if chain.error),
            "lag": self._lag,
            "delivered": parts.dispatcher.delivered,
            "deadLettered": parts.dispatcher.dead,
        }

    @property
    def running(self) -> bool:
        """Whether the state is restored and notifications are read."""
        return self._parts is not None

    @property
    def open_chains(self) -> int:
        """Notifications taken in and not done with; 0 while the state is not restored."""
        return 0 if self._parts is None else len(self._parts.deliveries.open)

    @property
    def lag(self) -> int:
        """Notifications not read yet, as of a few seconds ago."""
        return self._lag

    @property
    def breaker_state(self) -> BreakerState:
        """Of the receiver's breaker; closed while the state is not restored."""
        return BreakerState.CLOSED if self._parts is None else self._parts.dispatcher.breaker.state

    @property
    def trouble(self) -> str:
        """What keeps the channel from delivering, in words; empty when nothing does."""
        if self._parts is None:
            return self._trouble
        breaker = self._parts.dispatcher.breaker
        return "" if breaker.state is BreakerState.CLOSED else f"circuit breaker {breaker.state}: {breaker.reason}"

    def progress(self) -> Progress:
        """Whether there is something to do that the channel could do and does not; from memory."""
        parts = self._parts
        if parts is None:
            return Progress(self._begun, behind=not self._stopping)
        # With no room the receiver is what it waits for, and that is nothing that a restart would mend.
        return Progress(self._begun + sum(parts.deliveries.positions.values()), behind=self._lag > 0 and parts.deliveries.has_room)

    async def _run_once(self) -> None:
        async with self._restored() as parts:
            self._parts = parts
            self._begun += 1
            try:
                await _first_failure(parts.journal.run(), parts.dispatcher.run(), self._take_in(parts), self._tell(parts))
            finally:
                self._parts = None

    @contextlib.asynccontextmanager
    async def _restored(self) -> AsyncIterator[_Parts]:
        """Fence whoever delivered before, read the state back, and open everything."""
        if not await self._confirm():
            raise NotOwnerError("the group has given the channel to another process, or a rebalance is under way")
        async with contextlib.AsyncExitStack() as opened:
            writer = await PartitionWriter.open(self._settings, transactional_id(self._settings.application_id, self.name))
            opened.push_async_callback(writer.close)
            restored = (await read_channels_state(self._settings, [self.name]))[self.name]
            deliveries = restored.deliveries
            source = NotificationSource(self._settings, self.name)
            opened.push_async_callback(source.stop)
            from_beginning = restored.known or self._channel.start is Start.BEGINNING
            deliveries.positions = await source.start(deliveries.positions, from_beginning=from_beginning)
            sender = make_sender(self.name, self._config, environment())
            opened.push_async_callback(sender.close)
            journal = Journal(writer, (changelog_topic(self._settings), partition_of(self._settings, self.name)))
            closed = restored.health.breaker == BreakerState.CLOSED
            dispatcher = Dispatcher(self.name, self._channel, deliveries, sender, journal, known_closed=closed)
            dispatcher.settle_interrupted()
            # Durable before anything is read: where a new channel begins must not depend on whether it crashes in its first minute.
            journal.note([positions_record(self.name, deliveries.positions)])
            await journal.flush()
            yield _Parts(deliveries, source, journal, dispatcher)

    async def _take_in(self, parts: _Parts) -> None:
        deliveries = parts.deliveries
        noted_s = time.monotonic()
        while True:
            room = OPEN_MAX - len(deliveries.open)
            if room <= 0 or self._stopping:
                # Nothing is read on: Kafka keeps it.
                await asyncio.sleep(_FULL_SLEEP_S)
                continue
            records = await parts.source.poll(min(room, RECORDS_MAX))
            positions = await parts.source.positions()
            # From here to the note without an await: nobody may see chains that are not noted.
            taken = take_in(self._config, self.name, deliveries, records)
            if taken.known:
                log.info("notifications_known", channel=self.name, notifications=taken.known)
            moved = positions != deliveries.positions
            deliveries.positions = positions
            if not (taken.changes or taken.dead_letters or (moved and time.monotonic() - noted_s > POSITIONS_INTERVAL_S)):
                continue
            noted_s = time.monotonic()
            changes = [change_record(self.name, change) for change in taken.changes]
            durable = parts.journal.note([*changes, positions_record(self.name, positions)], taken.dead_letters)
            parts.dispatcher.wake()
            await asyncio.shield(durable)

    async def _tell(self, parts: _Parts) -> None:
        while True:
            await asyncio.sleep(TELL_INTERVAL_S)
            self._lag = await parts.source.lag()
            await parts.source.tell(parts.deliveries.undelivered_from())


async def _first_failure(*works: Any) -> None:
    """Run all until one ends, which is a failure; then end the others, and raise it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    # What is cancelled waits for a journal that has failed: the failure is the news.
    for result in results:
        if isinstance(result, Exception):
            raise result
    raise EmsError(f"a part of the channel has ended: {[task.get_name() for task in done]}")

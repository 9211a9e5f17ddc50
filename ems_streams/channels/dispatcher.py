"""When a channel sends what: within its rate, so many at a time, not at all while its receiver is away, and each attempt only once it is on record."""

import asyncio
import random
import time
from collections.abc import Callable

import structlog
from aiolimiter import AsyncLimiter

from ems_streams.channels.intake import dead_letters_of
from ems_streams.channels.journal import Journal, Output
from ems_streams.channels.meters import ChannelMeters
from ems_streams.channels.sender import Sender, failure
from ems_streams.domain.channel_config import ChannelBase
from ems_streams.domain.circuit_breaker import BreakerState, CircuitBreaker
from ems_streams.domain.deliveries import INTERRUPTED, Change, Deliveries, Message, Outcome
from ems_streams.domain.delivery_codec import ChannelHealth, change_record, health_record

log = structlog.get_logger(__name__)

CONFIRM_AFTER_S = 1.0
"""Kafka's answer that an attempt is on record may have waited for us and not we for it, while this process was paused and another took the channel over: then
it is put on record once more, which is refused to who has lost the channel."""


class Dispatcher:
    """Sends what is open, for as long as nobody cancels `run`.

    Args:
        name: Of the channel.
        deliveries: Shared with whoever takes notifications in; changed only between two awaits, and noted in the journal at once.
        known_closed: Whether the changelog says that the receiver takes messages.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        channel: ChannelBase,
        deliveries: Deliveries,
        sender: Sender,
        journal: Journal,
        *,
        known_closed: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._channel = channel
        self._deliveries = deliveries
        self._sender = sender
        self._journal = journal
        self._known_closed = known_closed
        self._clock = clock
        rate = channel.rate
        self._limiter = None if rate is None else AsyncLimiter(rate.messages, rate.per_s)
        self._has_permit = rate is None
        self._slots = asyncio.Semaphore(channel.concurrency)
        self._gate = asyncio.Event()
        self._gate.set()
        self._wake = asyncio.Event()
        self._paused_until_s = 0.0
        self._sending: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        breaker = channel.breaker
        self.breaker = CircuitBreaker(breaker.failures, breaker.open_s, breaker.open_max_s)
        self.delivered = 0
        self.dead = 0
        self._meters = ChannelMeters(name)

    async def run(self) -> None:
        """Send; raises what went wrong in an attempt that should not have, such as a journal that has failed."""
        sending = asyncio.create_task(self._send_for_ever(), name=f"channel {self._name} dispatch")
        try:
            await asyncio.wait((sending, self._failed), return_when=asyncio.FIRST_COMPLETED)
            for each in (self._failed, sending):
                if each.done():
                    await each
        finally:
            sending.cancel()
            for task in self._sending:
                task.cancel()
            await asyncio.gather(sending, *self._sending, return_exceptions=True)

    def wake(self) -> None:
        """There may be more to send."""
        self._wake.set()

    async def hold(self, timeout_s: float) -> None:
        """Begin no attempt any more, and wait a while for those that are under way."""
        self._gate.clear()
        if self._sending:
            await asyncio.wait(self._sending, timeout=timeout_s)

    def go_on(self) -> None:
        """After `hold`."""
        self._gate.set()

    def settle_interrupted(self) -> None:
        """Note that attempts of a process that is no more have failed, as far as anybody knows."""
        for message in self._deliveries.interrupted():
            outcome = failure(INTERRUPTED, "interrupted")
            self._note_outcome(message, outcome, [])

    async def _send_for_ever(self) -> None:
        while True:
            await self._slots.acquire()
            message = await self._next_message()
            # What is under way is noted before anything else can look at the deliveries.
            changes = self._deliveries.begin(message)
            task = asyncio.create_task(self._attempt(message, changes, self._note(changes)), name=f"channel {self._name} attempt")
            self._sending.add(task)
            task.add_done_callback(self._attempt_ended)

    async def _next_message(self) -> Message:
        """Wait until something may be sent."""
        while True:
            await self._gate.wait()
            self._wake.clear()
            wait_s = self._may_send_in_s()
            if wait_s is None or wait_s > 0 or self._deliveries.next_message(self._now_ms(), self._channel.digest, lambda _: True) is None:
                await self._sleep(wait_s)
                continue
            if not self._has_permit and self._limiter is not None:
                await self._limiter.acquire()
                # Meanwhile more has come, which goes with it.
                self._has_permit = True
                continue
            message = self._deliveries.next_message(self._now_ms(), self._channel.digest, self._fits)
            if message is not None and self.breaker.allows(time.monotonic()):
                self._has_permit = self._limiter is None
                return message

    def _may_send_in_s(self) -> float | None:
        """How long nothing may be sent; None until an attempt that is under way says more."""
        now_s = time.monotonic()
        if self.breaker.state is BreakerState.HALF_OPEN:
            return None
        return max(self.breaker.wait_s(now_s), self._paused_until_s - now_s)

    def _fits(self, messages: int) -> bool:
        return self._limiter is None or self._limiter.has_capacity(messages - 1)

    async def _sleep(self, wait_s: float | None) -> None:
        """Sleep for as long as given, or until the next thing is due, or somebody calls `wake`."""
        if wait_s is not None and wait_s <= 0:
            now_ms = self._now_ms()
            due_ms = self._deliveries.next_due_ms(now_ms, self._channel.digest)
            wait_s = None if due_ms is None else (due_ms - now_ms) / 1000
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _attempt(self, message: Message, changes: list[Change], begun: "asyncio.Future[None]") -> None:
        noted_s = time.monotonic()
        await asyncio.shield(begun)
        if time.monotonic() - noted_s > CONFIRM_AFTER_S:
            await asyncio.shield(self._note(changes))
        began_s = time.monotonic()
        try:
            outcome = await self._sender.send(message, self._clock())
        except Exception as error:
            # Whatever a message makes a library do concerns that message only.
            log.exception("attempt_raised", channel=self._name, message_id=message.message_id)
            outcome = failure(error)
        self._meters.attempted(outcome.delivered, time.monotonic() - began_s)
        await asyncio.shield(self._note_outcome(message, outcome, self._tell_breaker(outcome)))

    def _attempt_ended(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        self._slots.release()
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _tell_breaker(self, outcome: Outcome) -> list[tuple[bytes, bytes | None]]:
        """Tell the breaker; gives the record of its new state, if it is worth one."""
        now_s = time.monotonic()
        was = self.breaker.state
        if outcome.delivered:
            self.breaker.on_success(now_s)
        elif was is not BreakerState.OPEN:
            # Of several attempts that fail at the same time only the first opens it.
            self.breaker.on_failure(now_s, outcome.error)
        if outcome.retry_after_s is not None:
            # The receiver means all of us, not this one message.
            self._paused_until_s = max(self._paused_until_s, now_s + min(outcome.retry_after_s, self._channel.retry.max_s))
        closed = self.breaker.state is BreakerState.CLOSED
        if closed == self._known_closed:
            return []
        self._known_closed = closed
        log.warning("channel_breaker", channel=self._name, state=str(self.breaker.state), reason=self.breaker.reason)
        return [health_record(self._name, ChannelHealth(str(self.breaker.state), self._now_ms(), self.breaker.reason))]

    def _note_outcome(self, message: Message, outcome: Outcome, more: list[tuple[bytes, bytes | None]]) -> "asyncio.Future[None]":
        changes, dead = self._deliveries.end(message, outcome, self._now_ms(), self._channel.retry, random.random())  # noqa: S311 - no secret
        self.delivered += len(message.chains) if outcome.delivered else 0
        self.dead += len(dead)
        self._meters.done_with(len(message.chains) if outcome.delivered else 0, len(dead))
        if dead:
            log.error(
                "notification_put_aside", channel=self._name, message_id=message.message_id, notifications=len(dead), error=outcome.error
            )
        return self._note(changes, more, dead_letters_of(self._name, dead, outcome))

    def _note(
        self, changes: list[Change], more: list[tuple[bytes, bytes | None]] | None = None, outputs: list[Output] | None = None
    ) -> "asyncio.Future[None]":
        return self._journal.note([*(change_record(self._name, change) for change in changes), *(more or [])], outputs or [])

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

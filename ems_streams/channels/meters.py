"""What is counted of one channel, and what its metrics say of the moment."""

from collections.abc import Iterable
from typing import Protocol

from ems_streams.domain.circuit_breaker import BreakerState
from ems_streams.metrics import notifier


class ChannelMeters:
    """Counters of one channel, which are there, at zero, before anything happens.

    Args:
        channel: Its name.
    """

    def __init__(self, channel: str) -> None:
        self._delivered_attempts = notifier.ATTEMPTS.labels(channel, "delivered")
        self._failed_attempts = notifier.ATTEMPTS.labels(channel, "failed")
        self._attempt_seconds = notifier.ATTEMPT_SECONDS.labels(channel)
        self._delivered = notifier.NOTIFICATIONS.labels(channel, "delivered")
        self._dead = notifier.NOTIFICATIONS.labels(channel, "dead_letter")

    def attempted(self, delivered: bool, took_s: float) -> None:
        """An attempt has ended."""
        (self._delivered_attempts if delivered else self._failed_attempts).inc()
        self._attempt_seconds.observe(took_s)

    def done_with(self, delivered: int, dead: int) -> None:
        """So many notifications are delivered, and so many given up."""
        self._delivered.inc(delivered)
        self._dead.inc(dead)


class Channel(Protocol):
    """A channel of this process, as far as it is shown; `ChannelRunner`."""

    name: str

    @property
    def running(self) -> bool: ...

    @property
    def open_chains(self) -> int: ...

    @property
    def lag(self) -> int: ...

    @property
    def breaker_state(self) -> BreakerState: ...


def show_channels(channels: Iterable[Channel]) -> None:
    """Set the gauges of the channels that this process has, and of no others: they come and go."""
    for gauge in (notifier.RUNNING, notifier.OPEN_CHAINS, notifier.LAG, notifier.BREAKER_STATE):
        gauge.clear()
    for channel in channels:
        notifier.RUNNING.labels(channel.name).set(channel.running)
        notifier.OPEN_CHAINS.labels(channel.name).set(channel.open_chains)
        notifier.LAG.labels(channel.name).set(channel.lag)
        for state in BreakerState:
            notifier.BREAKER_STATE.labels(channel.name, state).set(state is channel.breaker_state)

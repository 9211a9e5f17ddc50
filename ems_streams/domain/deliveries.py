"""What a channel has to deliver, and how far each of it is: the state of one channel as a fold, with the time passed in.

Each notification of a channel has one chain of attempts. An attempt is recorded as begun before it is made, and its outcome after it, so that
whoever goes on after a crash knows that it was made, though not what came of it. A message is what is sent at once: one notification, or several
as a digest; what was sent together once stays together, since a receiver recognises it by its id.

Every method that changes something gives what it has changed; the caller makes that durable, in the same order (`delivery_codec`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from ems_streams.domain.channel_config import Digest, Retry
from ems_streams.domain.events import Notification

OPEN_MAX: Final = 1000
"""Chains that a channel holds; beyond that nothing more is read, and Kafka keeps the rest."""
DIGEST_MAX: Final = 100
"""Notifications in one message."""
DONE_KEPT: Final = 5000
"""Ids that are remembered after they are done, for those that come again."""
INTERRUPTED: Final = "the process ended during the attempt: the receiver may have it or not"


class Source(NamedTuple):
    """Where a notification came from.

    Attributes:
        timestamp_ms: Of the record.
        key: Of the record: the device; its notifications are delivered in order.
        replay_count: How often it was redriven from the dead letters before.
        carried: Headers of the record that are for others, such as the context of a trace.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    replay_count: int = 0
    carried: tuple[tuple[str, bytes], ...] = ()


class End(StrEnum):
    """How a chain ended."""

    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(slots=True)
class Chain:
    """The attempts to deliver one notification.

    Attributes:
        notification: Decoded `value`.
        value: Exact bytes of the record.
        number: Of the chain in its channel, in the order in which they were begun.
        attempts: Begun so far.
        sending: Whether the last of them has no outcome yet.
        message_id: Of the message that it is sent in; empty before the first attempt.
        due_ms: Not before.
        first_failed_ms: Time of the first failure.
        error: What the last failure said.
    """

    notification: Notification
    value: bytes
    source: Source
    number: int
    attempts: int = 0
    sending: bool = False
    message_id: str = ""
    due_ms: int = 0
    first_failed_ms: int | None = None
    error: str = ""

    @property
    def notification_id(self) -> str:
        """Id of its notification."""
        return self.notification.notification_id


class Done(NamedTuple):
    """What is remembered of a chain that has ended."""

    end: End
    attempts: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent at once.

    Attributes:
        message_id: Of the notification, or made of the ids of all of them: the same at every attempt.
        chains: At least one.
    """

    message_id: str
    chains: tuple[Chain, ...]

    @property
    def attempt(self) -> int:
        """Number of the attempt that was begun last."""
        return self.chains[0].attempts

    @property
    def notifications(self) -> list[Notification]:
        """What it tells, in order."""
        return [chain.notification for chain in self.chains]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        delivered: The receiver has it.
        error: Why not, in words.
        error_class: Machine-readable.
        permanent: Trying again is no use.
        retry_after_s: How long the receiver wants to be left alone.
    """

    delivered: bool
    error: str = ""
    error_class: str = ""
    permanent: bool = False
    retry_after_s: float | None = None


class Change(NamedTuple):
    """What is known of a notification now: an open chain, one that has ended, or nothing any more when both are None."""

    notification_id: str
    chain: Chain | None = None
    done: Done | None = None


def message_id_of(chains: Iterable[Chain]) -> str:
    """Id of a message: that of its notification, or a digest of all of theirs."""
    ids = [chain.notification_id for chain in chains]
    return ids[0] if len(ids) == 1 else "digest-" + blake2b("\0".join(ids).encode(), digest_size=16).hexdigest()


def backoff_ms(retry: Retry, attempts: int, share: float, retry_after_s: float | None = None) -> int:
    """How long to wait after so many attempts: twice as long each time, of which the upper half by chance.

    Args:
        share: Chance, 0 to 1.
        retry_after_s: What the receiver asks for; it is waited for, but not for longer than `max_s`.
    """
    longest_s = min(retry.max_s, retry.initial_s * 2.0 ** min(attempts - 1, 60))
    wait_s = longest_s * (0.5 + 0.5 * share)
    if retry_after_s is not None:
        wait_s = max(wait_s, min(retry_after_s, retry.max_s))
    return round(wait_s * 1000)


@dataclass(slots=True)
class Deliveries:
    """State of one channel.

    Attributes:
        positions: Next offset to read of each partition.
        open: Chains that have not ended, in the order in which they were read.
        done: The last ones that have, oldest first.
        next_number: Of the next chain.
    """

    positions: dict[int, int] = field(default_factory=dict)
    open: dict[str, Chain] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    next_number: int = 0

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return len(self.open) < OPEN_MAX

    def knows(self, notification_id: str) -> bool:
        """Whether there is a chain for it. One that ended in the dead letters is begun anew when somebody redrives it."""
        done = self.done.get(notification_id)
        return notification_id in self.open or (done is not None and done.end is End.DELIVERED)

    def take(self, notification: Notification, value: bytes, source: Source) -> list[Change]:
        """Begin a chain, unless there is one."""
        if self.knows(notification.notification_id):
            return []
        self.done.pop(notification.notification_id, None)
        chain = Chain(notification, value, source, self.next_number)
        self.next_number += 1
        self.open[chain.notification_id] = chain
        return [Change(chain.notification_id, chain)]

    def next_message(self, now_ms: int, digest: Digest | None, fits: Callable[[int], bool]) -> Message | None:
        """What is to be sent next, if anything is due; changes nothing.

        A device's notifications never overtake each other. What was sent before goes first. What is new goes one by one as long as all of it fits into
        the rate, otherwise together; with a digest, together when the oldest has waited for long enough.

        Args:
            fits: Whether so many messages may be sent now.
        """
        held: set[bytes | None] = set()
        fresh: list[Chain] = []
        for chain in self.open.values():
            if chain.sending:
                held.add(chain.source.key)
            elif chain.source.key in held:
                continue
            elif not chain.message_id:
                fresh.append(chain)
            elif chain.due_ms <= now_ms:
                return Message(chain.message_id, tuple(each for each in self.open.values() if each.message_id == chain.message_id))
            else:
                held.add(chain.source.key)
        if not fresh:
            return None
        if digest is None:
            chosen = fresh[:1] if len(fresh) == 1 or fits(len(fresh)) else fresh[:DIGEST_MAX]
        elif now_ms >= fresh[0].source.timestamp_ms + digest.every_s * 1000 or len(fresh) >= DIGEST_MAX:
            chosen = fresh[:DIGEST_MAX]
        else:
            return None
        return Message(message_id_of(chosen), tuple(chosen))

    def next_due_ms(self, now_ms: int, digest: Digest | None) -> int | None:
        """When something becomes due next; None when nothing does by time alone.

        What is due already and not given by `next_message` waits for another of its device, which is under way or becomes due itself.
        """
        due = (
            chain.due_ms if chain.message_id or digest is None else chain.source.timestamp_ms + round(digest.every_s * 1000)
            for chain in self.open.values()
            if not chain.sending
        )
        return min((each for each in due if each > now_ms), default=None)

    def begin(self, message: Message) -> list[Change]:
        """Note that an attempt is about to be made; it may be made once this is durable."""
        for chain in message.chains:
            chain.attempts += 1
            chain.sending = True
            chain.message_id = message.message_id
        return [Change(chain.notification_id, chain) for chain in message.chains]

    def end(self, message: Message, outcome: Outcome, now_ms: int, retry: Retry, share: float) -> tuple[list[Change], list[Chain]]:
        """Note what came of it; gives the changes, and the chains that go to the dead letters.

        Args:
            share: Chance, for the wait until the next attempt.
        """
        changes: list[Change] = []
        dead: list[Chain] = []
        wait_ms = backoff_ms(retry, max(1, message.attempt), share, outcome.retry_after_s)
        for chain in message.chains:
            chain.sending = False
            if outcome.delivered:
                changes += self._finish(chain, End.DELIVERED, now_ms)
                continue
            chain.error = outcome.error
            chain.first_failed_ms = now_ms if chain.first_failed_ms is None else chain.first_failed_ms
            if outcome.permanent or chain.attempts >= retry.attempts:
                dead.append(chain)
                changes += self._finish(chain, End.DEAD, now_ms)
            else:
                chain.due_ms = now_ms + wait_ms
                changes.append(Change(chain.notification_id, chain))
        return changes, dead

    def interrupted(self) -> list[Message]:
        """Messages whose last attempt was begun by a process that is no more; `end` each."""
        found: dict[str, list[Chain]] = {}
        for chain in self.open.values():
            if chain.sending:
                found.setdefault(chain.message_id, []).append(chain)
        return [Message(message_id, tuple(chains)) for message_id, chains in found.items()]

    def undelivered_from(self) -> Mapping[int, int]:
        """Of each partition the first offset that is not delivered, nor put aside; what lag is counted from."""
        lowest = dict(self.positions)
        for chain in self.open.values():
            partition, offset = chain.source.partition, chain.source.offset
            lowest[partition] = min(offset, lowest.get(partition, offset))
        return lowest

    def _finish(self, chain: Chain, end: End, now_ms: int) -> list[Change]:
        del self.open[chain.notification_id]
        done = Done(end, chain.attempts, now_ms)
        self.done[chain.notification_id] = done
        changes = [Change(chain.notification_id, done=done)]
        while len(self.done) > DONE_KEPT:
            oldest = next(iter(self.done))
            del self.done[oldest]
            changes.append(Change(oldest))
        return changes

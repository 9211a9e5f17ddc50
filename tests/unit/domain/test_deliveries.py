"""Chains of attempts: order, digests, retries, and what a crash leaves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import deliveries as deliveries_module
from ems_streams.domain.channel_config import Digest, Retry
from ems_streams.domain.deliveries import DIGEST_MAX, Change, Deliveries, End, Message, Outcome, Source, backoff_ms, message_id_of
from ems_streams.domain.delivery_codec import change_record, restore
from ems_streams.domain.events import Notification
from tests.support.sink import notification_of

RETRY = Retry(attempts=3, initial_s=2.0, max_s=60.0)
FINE = Outcome(delivered=True)
FAILED = Outcome(delivered=False, error="500", error_class="http_500")
REFUSED = Outcome(delivered=False, error="400", error_class="http_400", permanent=True)


def always(_: int) -> bool:
    return True


def never(_: int) -> bool:
    return False


class Channel:
    """A channel with its changelog, from which it can be put together again at any time."""

    def __init__(self) -> None:
        self.deliveries = Deliveries()
        self.changelog: dict[bytes, bytes] = {}
        self.offset = 0

    def put(self, changes: list[Change]) -> None:
        for change in changes:
            key, value = change_record("ops", change)
            self.changelog.pop(key, None)
            if value is not None:
                self.changelog[key] = value

    def take(self, name: str, device: str = "A", at_ms: int = 0) -> bool:
        notification = Notification.model_validate(notification_of(device) | {"notificationId": name})
        self.offset += 1
        changes = self.deliveries.take(notification, notification.encode(), Source(0, self.offset, at_ms, device.encode()))
        self.put(changes)
        return bool(changes)

    def next(self, now_ms: int = 0, digest: Digest | None = None, fits: Callable[[int], bool] = always) -> Message | None:
        message = self.deliveries.next_message(now_ms, digest, fits)
        if message is not None:
            self.put(self.deliveries.begin(message))
        return message

    def end(self, message: Message | None, outcome: Outcome, now_ms: int = 0) -> list[str]:
        assert message is not None
        changes, dead = self.deliveries.end(message, outcome, now_ms, RETRY, 1.0)
        self.put(changes)
        return [chain.notification_id for chain in dead]

    def restored(self) -> Deliveries:
        return restore("ops", self.changelog.items()).deliveries


def ids(message: Message | None) -> list[str]:
    return [] if message is None else [each.notification_id for each in message.notifications]


def test_notifications_of_a_device_wait_for_each_other_and_others_do_not() -> None:
    channel = Channel()
    for name, device in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        channel.take(name, device)

    first, other = channel.next(), channel.next()

    assert (ids(first), ids(other), channel.next()) == (["a1"], ["b1"], None)
    channel.end(first, FAILED)
    assert channel.next() is None, "it is not due yet, and a2 must not overtake it"
    again = channel.next(2_000)
    assert (ids(again), again and again.attempt) == (["a1"], 2)
    channel.end(again, FINE)
    assert ids(channel.next()) == ["a2"]


def test_attempts_are_bounded_and_a_permanent_failure_is_not_tried_again() -> None:
    channel = Channel()
    channel.take("a")
    for attempt in (1, 2):
        assert channel.end(channel.next(100_000 * attempt), FAILED, 100_000 * attempt) == []
    assert channel.end(channel.next(300_000), FAILED, 300_000) == ["a"]
    channel.take("b")
    assert channel.end(channel.next(), REFUSED) == ["b"]

    assert {name: (done.end, done.attempts) for name, done in channel.deliveries.done.items()} == {"a": (End.DEAD, 3), "b": (End.DEAD, 1)}
    assert channel.deliveries.open == {}


def test_what_is_more_than_fits_goes_together() -> None:
    channel = Channel()
    for number in range(5):
        channel.take(f"n{number}", f"D{number % 2}")

    together = channel.next(fits=never)

    assert ids(together) == [f"n{number}" for number in range(5)]
    assert together is not None
    assert together.message_id.startswith("digest-")
    channel.end(together, FINE)
    channel.take("alone")
    alone = channel.next(fits=never)
    assert (alone and alone.message_id) == "alone"


def test_a_digest_waits_for_its_oldest_and_is_sent_as_it_was_when_it_is_tried_again() -> None:
    channel, digest = Channel(), Digest(every_s=60.0)
    channel.take("a", "A", 1_000)
    channel.take("b", "B", 30_000)
    assert channel.next(60_999, digest) is None
    assert channel.deliveries.next_due_ms(30_000, digest) == 61_000
    first = channel.next(61_000, digest)
    assert ids(first) == ["a", "b"]
    channel.take("c", "C", 61_500)
    channel.end(first, FAILED, 62_000)

    again = channel.next(64_000, digest)

    assert again is not None
    assert first is not None
    assert (ids(again), again.message_id, again.attempt) == (["a", "b"], first.message_id, 2)


def test_a_digest_is_bounded() -> None:
    channel = Channel()
    for number in range(DIGEST_MAX + 5):
        channel.take(f"n{number}", f"D{number}", at_ms=1_000)

    assert len(ids(channel.next(1_000, Digest(every_s=3600.0)))) == DIGEST_MAX
    assert channel.next(1_000, Digest(every_s=3600.0)) is None


def test_what_is_known_is_not_begun_again_but_what_was_put_aside_may_be_redriven() -> None:
    channel = Channel()
    assert channel.take("a")
    assert not channel.take("a")
    message = channel.next()
    assert not channel.take("a")
    channel.end(message, FINE)
    assert not channel.take("a")
    channel.take("b")
    channel.end(channel.next(), REFUSED)

    assert channel.take("b")
    redriven = channel.next()
    assert (ids(redriven), redriven and redriven.attempt) == (["b"], 1)


def test_only_the_last_ends_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries_module, "DONE_KEPT", 3)
    channel = Channel()
    for number in range(10):
        channel.take(f"n{number}")
        channel.end(channel.next(), FINE, number)

    assert list(channel.deliveries.done) == ["n7", "n8", "n9"]
    assert len(channel.changelog) == 3


def test_a_crash_in_an_attempt_leaves_it_counted_and_together() -> None:
    channel = Channel()
    for name in ("a", "b"):
        channel.take(name, name)
    message = channel.next(fits=never)
    assert message is not None

    found = channel.restored()

    (interrupted,) = found.interrupted()
    assert (ids(interrupted), interrupted.message_id, interrupted.attempt) == (["a", "b"], message.message_id, 1)
    found.end(interrupted, FAILED, 0, RETRY, 0.0)
    assert ids(found.next_message(10_000, None, always)) == ["a", "b"]


def test_lag_is_counted_from_the_first_that_is_not_delivered() -> None:
    channel = Channel()
    channel.deliveries.positions = {0: 10, 1: 5}
    channel.take("a")
    channel.take("b", "B")
    first = channel.next()
    assert channel.deliveries.undelivered_from() == {0: 1, 1: 5}
    channel.end(first, FINE)
    assert channel.deliveries.undelivered_from() == {0: 2, 1: 5}


@pytest.mark.parametrize(
    ("attempts", "least", "most"), [(1, 1_000, 2_000), (2, 2_000, 4_000), (5, 16_000, 32_000), (9, 30_000, 60_000), (100, 30_000, 60_000)]
)
def test_backoff_doubles_up_to_its_longest_with_half_of_it_by_chance(attempts: int, least: int, most: int) -> None:
    assert (backoff_ms(RETRY, attempts, 0.0), backoff_ms(RETRY, attempts, 1.0)) == (least, most)


def test_a_receiver_that_asks_for_time_gets_it_up_to_the_longest_wait() -> None:
    assert backoff_ms(RETRY, 1, 0.0, 30.0) == 30_000
    assert backoff_ms(RETRY, 1, 0.0, 0.0) == 1_000
    assert backoff_ms(RETRY, 1, 0.0, 1e9) == 60_000


def test_the_id_of_a_digest_is_made_of_all_ids_in_order() -> None:
    channel = Channel()
    for name in ("a", "b", "c"):
        channel.take(name)
    a, b, c = channel.deliveries.open.values()

    assert message_id_of([a]) == "a"
    assert len({message_id_of([a, b]), message_id_of([b, a]), message_id_of([a, b, c]), message_id_of([a, c])}) == 4


@dataclass
class Life:
    """A channel under arbitrary steps, and what must have been seen of it."""

    channel: Channel = field(default_factory=Channel)
    under_way: list[Message] = field(default_factory=list)
    begun: dict[str, list[int]] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    def take(self, choice: int, now_ms: int) -> None:
        self.taken.append(f"n{now_ms}")
        assert self.channel.take(self.taken[-1], f"D{choice}", now_ms)

    def begin(self, now_ms: int, fits: Callable[[int], bool]) -> None:
        message = self.channel.next(now_ms, fits=fits)
        if message is not None:
            self.under_way.append(message)
            for chain in message.chains:
                self.begun.setdefault(chain.notification_id, []).append(chain.attempts)

    def crash(self, now_ms: int) -> None:
        self.channel.deliveries = self.channel.restored()
        self.under_way = []
        for message in self.channel.deliveries.interrupted():
            self.dead += self.channel.end(message, FAILED, now_ms)

    def end(self, choice: int, now_ms: int, outcome: Outcome) -> None:
        if self.under_way:
            self.dead += self.channel.end(self.under_way.pop(choice % len(self.under_way)), outcome, now_ms)

    def check(self) -> None:
        found, known = self.channel.restored(), self.channel.deliveries
        assert list(found.open.items()) == list(known.open.items())
        assert found.done == known.done
        sending = sorted(str(chain.source.key) for chain in known.open.values() if chain.sending)
        devices = sorted(str(device) for message in self.under_way for device in {chain.source.key for chain in message.chains})
        assert sorted(set(sending)) == devices, "a device is in one message at a time"


STEPS = ("take", "begin", "together", "fine", "failed", "refused", "crash")


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=60))
def test_whatever_happens_the_changelog_holds_the_state_and_each_chain_counts_its_attempts(steps: list[tuple[str, int]]) -> None:
    """Every id: attempts 1, 2, 3, ... without a gap up to the bound, at most one dead letter, nothing lost."""
    life = Life()
    for number, (step, choice) in enumerate(steps, 1):
        now_ms = number * 100_000
        if step == "take":
            life.take(choice, now_ms)
        elif step in {"begin", "together"}:
            life.begin(now_ms, always if step == "begin" else never)
        elif step == "crash":
            life.crash(now_ms)
        else:
            life.end(choice, now_ms, {"fine": FINE, "failed": FAILED, "refused": REFUSED}[step])
        life.check()
    known = life.channel.deliveries
    assert all(numbers == list(range(1, len(numbers) + 1)) and len(numbers) <= RETRY.attempts for numbers in life.begun.values())
    assert sorted(life.taken) == sorted([*known.open, *known.done])
    assert sorted(life.dead) == sorted(name for name, done in known.done.items() if done.end is End.DEAD)

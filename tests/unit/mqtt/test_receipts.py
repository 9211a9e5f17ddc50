"""What a QoS 2 receiver takes, and what it knows that it has taken."""

from hypothesis import given
from hypothesis import strategies as st

from ems_streams.mqtt.receipts import MAX_ORPHANS, RELEASED_KEPT, Receipts


def test_a_message_is_taken_once_until_it_is_released() -> None:
    receipts = Receipts()
    assert receipts.take(1, b"a")
    assert not receipts.take(1, b"a")
    assert not receipts.take(1, b"a")
    assert receipts.release(1)
    assert receipts.take(1, b"a")


def test_a_release_of_what_was_never_taken_is_known_as_such() -> None:
    receipts = Receipts()
    assert not receipts.release(7)
    receipts.take(7, b"a")
    assert receipts.release(7)
    assert not receipts.release(7)


def test_the_same_message_under_another_id_is_the_same_message_on_the_next_connection() -> None:
    receipts = Receipts()
    assert receipts.take(57, b"a")
    receipts.connected()
    assert not receipts.take(1, b"a")
    assert not receipts.release(57), "the old id says nothing any more"
    assert receipts.release(1)
    assert receipts.take(2, b"a")


def test_another_message_under_the_id_of_an_unreleased_one_is_another_message() -> None:
    receipts = Receipts()
    assert receipts.take(57, b"a")
    receipts.connected()
    assert receipts.take(57, b"b")
    assert not receipts.take(58, b"a"), "the first one comes again, under a third id"
    assert not receipts.take(57, b"b")


def test_on_one_connection_the_same_message_under_another_id_is_another_message() -> None:
    receipts = Receipts()
    receipts.connected()
    assert receipts.take(1, b"a")
    assert receipts.take(2, b"a"), "nothing is sent again on the same connection, so this was published twice"
    receipts.connected()
    assert not receipts.take(3, b"a")
    assert not receipts.take(4, b"a")
    assert receipts.take(5, b"a")


def test_what_was_released_last_on_an_earlier_connection_is_known_when_a_killed_broker_sends_it_again() -> None:
    receipts = Receipts()
    receipts.connected()
    for number in range(2 * RELEASED_KEPT):
        assert receipts.take(7, b"%d" % number)
        receipts.release(7)
    assert receipts.take(7, b"%d" % (2 * RELEASED_KEPT - 1)), "on the same connection it was published twice"
    receipts.release(7)
    receipts.connected()
    assert not receipts.take(1, b"%d" % (2 * RELEASED_KEPT - 2))
    assert receipts.take(2, b"0"), "long ago"


def test_with_the_session_everything_is_forgotten() -> None:
    receipts = Receipts([(1, b"a"), (2, b"b")])
    receipts.take(2, b"c")
    assert not receipts.take(1, b"a")
    receipts.connected()
    receipts.clear()
    assert len(receipts) == 0
    assert receipts.take(1, b"a")
    assert receipts.take(9, b"b")


def test_what_is_never_released_does_not_grow_without_bound() -> None:
    receipts = Receipts()
    for number in range(3 * MAX_ORPHANS):
        assert receipts.take(1, b"%d" % number)
    assert len(receipts._orphans) == MAX_ORPHANS
    receipts.connected()
    assert not receipts.take(2, b"%d" % (3 * MAX_ORPHANS - 2))


Step = tuple[str, int, bytes]
steps_of = st.lists(
    st.tuples(st.sampled_from(["take", "take", "release", "connect"]), st.integers(1, 4), st.sampled_from([b"a", b"b", b"c"]))
)


@given(steps_of)
def test_a_message_is_known_as_long_as_the_protocol_allows_it_to_be_sent_again(steps: list[Step]) -> None:
    receipts = Receipts()
    held: list[tuple[int | None, bytes, int]] = []  # id, if it still stands for it; what it says; connection
    released: list[tuple[bytes, int]] = []
    connection = 0
    for what, packet_id, identity in steps:
        if what == "connect":
            connection += 1
            receipts.connected()
        elif what == "release":
            gone = [(each[1], connection) for each in held if each[0] == packet_id]
            assert receipts.release(packet_id) == bool(gone)
            released += gone
            held = [each for each in held if each[0] != packet_id]
        elif any(each[:2] == (packet_id, identity) for each in held):
            assert not receipts.take(packet_id, identity)
        else:
            before = [each for each in held if each[1] == identity and each[2] < connection]
            lately = [each for each in released if each[0] == identity and each[1] < connection]
            assert receipts.take(packet_id, identity) == (not before and not lately)
            # Of several that say the same, it does not matter which one is sent again: those without an id go first.
            orphaned = [each for each in before if each[0] is None]
            if orphaned or (before and not lately):
                held.remove((orphaned or before)[0])
            elif lately:
                released.remove(lately[0])
            orphans = [(None, *each[1:]) if each[0] == packet_id else each for each in held]
            held = [*orphans, (packet_id, identity, connection)]

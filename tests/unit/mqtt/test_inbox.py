"""The buffer between socket and consumer: order, bounds, and what a new connection means."""

from ems_streams.mqtt.inbox import Inbox, MqttMessage


def message(number: int, *, qos: int = 1, size: int = 10) -> MqttMessage:
    return MqttMessage(f"t/{number}", b"x" * size, number if qos else None, retain=False)


def test_batches_keep_the_order_and_so_do_their_acknowledgements() -> None:
    inbox = Inbox(10, 10_000)
    for number in (7, 3, 65_535, 1):
        inbox.put(message(number))
    inbox.put(message(0, qos=0))
    first, second = inbox.take(3, 1_000), inbox.take(3, 1_000)
    assert first.packet_ids() == [7, 3, 65_535]
    assert second.packet_ids() == [1]
    assert len(second.messages) == 2


def test_a_batch_is_bounded_in_bytes_but_never_empty_while_something_waits() -> None:
    inbox = Inbox(10, 10_000)
    for number in range(1, 4):
        inbox.put(message(number, size=600))
    assert [len(inbox.take(10, 1_000).messages) for _ in range(3)] == [2, 1, 0]


def test_qos_0_is_dropped_and_counted_when_too_much_waits_and_qos_1_never_is() -> None:
    inbox = Inbox(2, 10_000)
    assert [inbox.put(message(number, qos=0)) for number in range(3)] == [True, True, False]
    assert all(inbox.put(message(number)) for number in range(1, 2_000))
    assert inbox.dropped == 1
    assert inbox.full
    inbox.take(5_000, 100_000)
    assert not inbox.full
    assert inbox.put(message(0, qos=0))


def test_a_new_connection_forgets_what_will_come_again_and_keeps_what_will_not() -> None:
    inbox = Inbox(10, 10_000)
    inbox.next_epoch()
    for number in (1, 2):
        inbox.put(message(number))
        inbox.put(message(number, qos=0))
    old = inbox.take(1, 1_000)
    inbox.next_epoch()
    new = inbox.take(10, 1_000)
    assert (old.epoch, new.epoch) == (1, 2)
    assert [kept.packet_id for kept in new.messages] == [None, None]

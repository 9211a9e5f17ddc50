"""A process of ours with one known fault put in: each must make the chaos suite fail, or the suite proves nothing.

`python -m tests.chaos.mutant FAULT ARGUMENT...` is `python -m ems_streams ARGUMENT...` with the fault. `EMS_CHAOS_MUTATION=FAULT` makes
the suite run all processes so.
"""

import sys
from collections.abc import Callable
from typing import Any

from faust.transport.drivers import aiokafka as driver

from ems_streams.kafka.partition_state import PartitionState
from ems_streams.kafka.transport import Consumer, ConsumerThread
from ems_streams.mqtt.adapter import MqttSubscriber


def auto_ack() -> None:
    """PUBACK as soon as a message is received, as MQTT libraries do by themselves, instead of after Kafka has it."""
    receive = MqttSubscriber._receive
    received: list[tuple[int, int]] = []

    def receive_and_acknowledge(self: MqttSubscriber, packet: Any) -> None:
        receive(self, packet)
        if packet.packet_id is not None:
            received.append((self._inbox.epoch, packet.packet_id))
        if self._connection is not None:  # the first messages come before it is known
            self._connection.acknowledge([packet_id for epoch, packet_id in received if epoch == self._inbox.epoch])
            received.clear()

    async def acknowledge(self: MqttSubscriber, batch: Any) -> bool:
        return True

    MqttSubscriber._receive = receive_and_acknowledge  # type: ignore[method-assign]
    MqttSubscriber.acknowledge = acknowledge  # type: ignore[method-assign]


def faust_commits() -> None:
    """Faust's own bookkeeping: offsets of messages that agents are done with are committed, and reading goes on from them."""
    for name in ("perform_seek", "_filter_tps_with_pending_acks"):
        setattr(Consumer, name, getattr(driver.Consumer, name))

    def new_offset(self: Consumer, tp: Any) -> int | None:
        # Faust's own wants one message per offset; a batch has the offset of its last record.
        return max(self._acked[tp]) + 1 if self._acked[tp] else None

    Consumer._new_offset = new_offset  # type: ignore[method-assign]
    ConsumerThread._commit = driver.AIOKafkaConsumerThread._commit  # type: ignore[method-assign]
    contiguous_or_not()


def store_first() -> None:
    """The local store is written before the transaction that makes the changelog durable."""
    take = PartitionState._take

    def take_and_store(self: PartitionState[Any]) -> Any:
        changes, outputs, positions = take(self)
        self._store.write_raw(self.partition, iter(changes.items()), self._store.complete_up_to(self.partition) or 0)
        return changes, outputs, positions

    PartitionState._take = take_and_store  # type: ignore[method-assign]


def contiguous_or_not() -> None:
    """Whatever is fetched is delivered, whether it follows on what was delivered before or not."""

    async def is_contiguous(self: Consumer, tp: Any, records: Any) -> bool:
        return True

    Consumer._is_contiguous = is_contiguous  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    "auto-ack": auto_ack,
    "faust-commits": faust_commits,
    "store-first": store_first,
    "no-continuity-guard": contiguous_or_not,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    from ems_streams.cli.main import run

    run()

"""What the gateway holds of a notification takes about as many bytes as it is long."""

import tracemalloc

import orjson
from aiokafka import ConsumerRecord

from ems_streams.gateway.notifications import parse
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS

COUNT = 200


def record(offset: int) -> ConsumerRecord[bytes, bytes]:
    fields = {"notificationId": f"N-{offset}", "serialNumber": f"SN-{offset:06}", "title": "Offline", **{f"field{n}": n for n in range(40)}}
    value = orjson.dumps(fields)
    return ConsumerRecord(DEVICE_NOTIFICATIONS, 0, offset, 0, 0, b"", value, None, 0, len(value), ())


def test_no_buffer_is_held_with_it() -> None:
    records = [record(offset) for offset in range(COUNT)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [found[1] for each in records if (found := parse(each)) is not None]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(held) == COUNT
    assert grown < 1.25 * sum(map(len, held))

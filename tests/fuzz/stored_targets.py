"""What is read back from stores and changelogs, from dead letters and files: damage is an error of ours, which names what is damaged."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import orjson

from ems_streams.dead_letters.decoding import _DECODERS
from ems_streams.domain import aggregates_codec, alarm_memory, commands_codec, notices_codec, site_codec, status_state
from ems_streams.domain.alarm_memory import DeviceMemory, RuleMemory
from ems_streams.domain.alarm_rule_set import rule_set_of
from ems_streams.domain.delivery_codec import positions_record, restore
from ems_streams.domain.device_history import HistoryRecord
from ems_streams.domain.events import StatusEvent, decode
from ems_streams.domain.letter import LetterId, read_letter
from ems_streams.domain.maintenance import MaintenanceWindows, decode_window
from ems_streams.domain.notices import DeviceNotices
from ems_streams.domain.record_filter import condition
from ems_streams.domain.silence import Listening, RegisteredTimeout
from ems_streams.domain.site_membership import Joined, Left
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.status import on_telemetry
from ems_streams.domain.timeline import timeline
from ems_streams.gateway import cursors
from ems_streams.gateway.topology import parse_topology
from ems_streams.kafka.device_topics import PUT_ASIDE, READERS
from ems_streams.rules.file import parse_rules
from tables import alarms, device_aggregates, device_status, notifications
from tests.fuzz.seeds import TRANSITION, records
from tests.fuzz.target import Target, split
from tests.unit.domain.alarm_cases import rule
from tests.unit.domain.builders import NOON_MS, SERIAL, Device, minutes, record
from tests.unit.domain.command_builders import begun
from tests.unit.domain.site_builders import World, part

_CODECS: Final[dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]]] = {
    "device-aggregates": (device_aggregates.decode, device_aggregates.encode),
    "device-status": (device_status.decode, device_status.encode),
    "notifications": (notifications.decode, notifications.encode),
    "alarms": (alarms.decode, alarms.encode),
    "commands": (commands_codec.decode, commands_codec.encode),
    "site-windows": (site_codec.decode, site_codec.encode),
}


def stored_targets() -> Iterator[Target]:
    """A target for the changelog of each table, and for each other thing that is read back."""
    for table, seeds in _states().items():
        read, write = _CODECS[table]
        yield Target(f"changelog-{table}", f"values of the table {table}", partial(_through, read, write), list(seeds), (StateCodecError,))
    channel = [key + b"\n" + value for key, value in (positions_record("c", {0: 1}),) if value is not None]
    yield Target(
        "changelog-deliveries", "what a channel has to deliver", lambda data: restore("c", [split(data)]), channel, (StateCodecError,)
    )
    yield Target("dead-letter-headers", "headers of dead letters, ours and Spring's", _letter, [_LETTER])
    yield Target("dead-letter-id", "ids of dead letters", lambda data: LetterId.parse(_text(data)), [b"device-telemetry-dlt/0/1"])
    yield Target("redrive-decoders", "what is asked before a dead letter is sent back", _redriven, _redrivable())
    yield Target("timeline", "what explain reads of each topic", _timeline, [b"device-telemetry\n" + records()["device-telemetry"][0][1]])
    yield Target("rules-file", "files of alarm rules", _rules, [_RULES.encode()])
    yield Target("tail-condition", "conditions of topics tail", lambda data: condition(_text(data)), [b"telemetryData.powerKw>=5"])
    yield Target("http-cursors", "cursors of lists and of the WebSocket", _cursor, _cursors(), (cursors.BadCursorError,))
    topology = b'{"generation":1,"partitions":4,"workers":{"http://h:1":[0,1]}}'
    yield Target("worker-topology", "what a worker tells the gateway", parse_topology, [topology], (ValueError,))


_LETTER: Final = (
    b"dlt-original-topic: sites/1/devices/INV-001/telemetry\ndlt-original-partition: -1\ndlt-error-class: invalid_json\ndlt-attempts: 3"
)
_RULES: Final = "rules:\n- id: hot\n  title: Hot\n  severity: WARNING\n  condition: {kind: threshold, metric: t, above: 80, forS: 10}\n"


def _states() -> dict[str, Iterable[bytes]]:
    device = Device()
    for at_ms, metrics in minutes(40):
        device.send(record(at_ms, metrics, message_id=str(at_ms)))
    memory = DeviceMemory(SERIAL, 1, 7, "METER", NOON_MS, NOON_MS, 3, {"t": NOON_MS}, {"hot": RuleMemory("f", NOON_MS, 3)})
    notices = DeviceNotices(decode(StatusEvent, orjson.dumps(TRANSITION)), 1.5, NOON_MS, NOON_MS, 1)
    windows, rules = MaintenanceWindows(), rule_set_of([rule({"kind": "threshold", "metric": "t", "above": 1.0})])
    windows.put(decode_window(records()["maintenance-windows"][0][1]))
    return {
        "device-aggregates": [aggregates_codec.encode(device.state), *device.quarters.stored.values()],
        "device-status": [status_state.encode(_status()), *map(device_status.encode, (Listening(1, 2, {"i": 2}), RegisteredTimeout(5)))],
        "notifications": [notices_codec.encode(notices), notifications.encode(windows)],
        "alarms": [alarm_memory.encode(memory), alarms.encode(rules), alarms.encode(Listening(1, 2, {"i": 2}))],
        "commands": [commands_codec.encode(begun())],
        "site-windows": list(_site_states()),
    }


def _status() -> Any:
    found = on_telemetry(None, record(NOON_MS, {"powerKw": 1.0}), ("device-telemetry", 0), 1, NOON_MS)
    assert found is not None
    return found.state


def _site_states() -> Iterable[bytes]:
    world = World()
    world.send(*(part(serial, minute) for serial in ("A", "B") for minute in range(3)), Joined("A", 7, NOON_MS), Left("B", 7, NOON_MS))
    return world.records.stored.values()


def _through(read: Callable[[bytes], Any], write: Callable[[Any], bytes], data: bytes) -> object:
    """What can be read can be written again."""
    return write(read(data))


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _letter(data: bytes) -> object:
    headers = [(name.decode(errors="replace"), value.lstrip()) for name, _, value in (line.partition(b":") for line in data.split(b"\n"))]
    return read_letter(LetterId("device-telemetry-dlt", 0, 1), NOON_MS, SERIAL.encode(), data, headers)


def _redrivable() -> list[bytes]:
    return [topic.encode() + b"\n" + value for topic, found in records().items() if topic in _DECODERS for _, value in found if value]


def _redriven(data: bytes) -> object:
    topic, value = split(data)
    decoder = _DECODERS.get(_text(topic))
    return False if decoder is None else decoder(value)


def _timeline(data: bytes) -> object:
    topic, value = split(data)
    name = _text(topic)
    if name not in READERS and name not in PUT_ASIDE and name != "device-telemetry-late":
        return False
    headers = (("dlt-error-message", value), ("late-original-topic", value))
    found = timeline(
        [HistoryRecord(name, 0, 1, NOON_MS, b"k", value, len(value), headers)], READERS, PUT_ASIDE, "device-telemetry-late", {}
    )
    return found[0].what != "malformed"


def _rules(data: bytes) -> object:
    found, problems = parse_rules(data)
    assert found or problems or data.strip() != b"", "what is no rule is a problem"
    return not problems


def _cursors() -> list[bytes]:
    return [
        b"feed\n" + cursors.encode_feed([1, 2]).encode(),
        b"letters\n" + cursors.encode_letters([1, 2]).encode(),
        b"device\n" + cursors.encode_device(SERIAL).encode(),
        b"window\n" + cursors.encode_window("2025-10-04T12:00:00Z").encode(),
        b"alarm\n" + cursors.encode_alarm(NOON_MS, "a" * 32).encode(),
    ]


def _cursor(data: bytes) -> object:
    kind, cursor = split(data)
    readers: dict[bytes, Callable[[str], object]] = {
        b"feed": cursors.decode_feed, b"letters": cursors.decode_letters, b"device": cursors.decode_device, b"window": cursors.decode_window,
        b"alarm": cursors.decode_alarm,
    }  # fmt: skip
    reader = readers.get(kind)
    return False if reader is None else reader(_text(cursor))

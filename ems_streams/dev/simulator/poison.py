"""Messages that no one can process, one function for each way in which a device or a stranger can be wrong.

Each must end in the dead letters with its exact bytes, and none may be counted, provision a device or stop anything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

LARGE_BYTES = 2 * 1024 * 1024
NESTING = 2_000
DEFAULT_DEVICES: tuple[tuple[int, str], ...] = ((1, "INV-00001"),)
_TIMESTAMP = "2025-06-21T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Victim:
    """The device in whose name a poison message is written, and a tag that makes the message unique where it has room for one."""

    site_id: int
    serial_number: str
    tag: str

    def topic(self, site: object = None, serial: str | None = None, leaf: str = "telemetry") -> str:
        """The device's own topic, with the levels that are to be wrong."""
        site_level = self.site_id if site is None else site
        serial_level = self.serial_number if serial is None else serial
        return f"sites/{site_level}/devices/{serial_level}/{leaf}"


Build = Callable[[Victim], str | bytes]


def _metric(value: str) -> Build:
    """A message whose only defect is the value of one metric."""
    return lambda victim: f'{{"telemetryData":{{"voltage":480.5,"powerKw":{value}}},"timestamp":"{_TIMESTAMP}","messageId":"{victim.tag}"}}'


def _name(name: str) -> Build:
    """A message whose only defect is the name of one metric."""
    return lambda victim: f'{{"telemetryData":{{"powerKw":45.2,"{name}":1.0}},"timestamp":"{_TIMESTAMP}","messageId":"{victim.tag}"}}'


def _member(json: str) -> Build:
    """A good measurement with one member beside it that is wrong."""
    return lambda victim: f'{{"telemetryData":{{"powerKw":45.2}},"messageId":"{victim.tag}",{json}}}'


def _good(victim: Victim) -> str:
    """Nothing wrong here: the topic is."""
    return f'{{"telemetryData":{{"powerKw":45.2}},"timestamp":"{_TIMESTAMP}","messageId":"{victim.tag}"}}'


_PAYLOADS: dict[str, Build] = {
    "not-json": lambda victim: f"power is fine {victim.tag}",
    "truncated": lambda victim: f'{{"messageId":"{victim.tag}","telemetryData":{{"powerKw":45.',
    "trailing-garbage": lambda victim: _good(victim) + "}",
    "single-quotes": lambda victim: f"{{'powerKw': 45.2, 'messageId': '{victim.tag}'}}",
    "empty": lambda victim: b"",
    "blank": lambda victim: b"  \r\n",
    "null": lambda victim: b"null",
    "array": lambda victim: f'[{{"powerKw":45.2}},"{victim.tag}"]',
    "number": lambda victim: b"45.2",
    "string": lambda victim: f'"{victim.tag}"',
    "empty-object": lambda victim: b"{}",
    "empty-telemetry": lambda victim: f'{{"telemetryData":{{}},"messageId":"{victim.tag}"}}',
    "telemetry-is-array": lambda victim: f'{{"telemetryData":[45.2],"messageId":"{victim.tag}"}}',
    "telemetry-is-null": lambda victim: f'{{"telemetryData":null,"messageId":"{victim.tag}"}}',
    "metric-true": _metric("true"),
    "metric-string": _metric('"45.2"'),
    "metric-null": _metric("null"),
    "metric-object": _metric('{"value":45.2}'),
    "metric-array": _metric("[45.2]"),
    "metric-nan": _metric("NaN"),
    "metric-infinity": _metric("Infinity"),
    "metric-minus-infinity": _metric("-Infinity"),
    "metric-overflow": _metric("1e999"),
    "metric-huge-integer": _metric("1" + "0" * 400),
    "metric-leading-zero": _metric("045.2"),
    "bare-metric-string": lambda victim: f'{{"powerKw":"{victim.tag}"}}',
    "name-with-space": _name("power kw"),
    "name-starts-with-digit": _name("1powerKw"),
    "name-empty": _name(""),
    "name-too-long": _name("p" * 65),
    "name-not-ascii": _name("pöwer"),
    "too-many-metrics": lambda victim: '{"telemetryData":{' + ",".join(f'"metric{number}":1.0' for number in range(65)) + "}}",
    "deep-arrays": lambda victim: b"[" * NESTING + b"]" * NESTING,
    "deep-objects": lambda victim: b'{"telemetryData":' * NESTING + b"{}" + b"}" * NESTING,
    "invalid-utf8": lambda victim: b'{"telemetryData":{"powerKw":45.2},"messageId":"\xff\xfe' + victim.tag.encode() + b'"}',
    "binary": lambda victim: b"\x00\x01\x02\x80" + victim.tag.encode(),
    "two-megabytes": lambda victim: victim.tag.encode().ljust(LARGE_BYTES, b"x"),
    "wrong-serial": _member('"serialNumber":"INV-99999"'),
    "wrong-site": _member('"siteId":999999'),
    "timestamp-not-a-time": _member('"timestamp":"yesterday"'),
    "timestamp-impossible": _member('"timestamp":"2025-13-45T99:99:99Z"'),
    "timestamp-object": _member('"timestamp":{}'),
    "device-id-string": _member('"deviceId":"seven"'),
}

_TOPICS: dict[str, Callable[[Victim], str]] = {
    "site-not-a-number": lambda victim: victim.topic(site="abc"),
    "site-negative": lambda victim: victim.topic(site=-1),
    "site-fraction": lambda victim: victim.topic(site="1,5"),
    "site-too-big": lambda victim: victim.topic(site="9" * 20),
    "serial-with-space": lambda victim: victim.topic(serial="INV 00001"),
    "serial-too-long": lambda victim: victim.topic(serial="I" * 65),
    "serial-not-ascii": lambda victim: victim.topic(serial="INV-ä"),
}

_STATUSES: dict[str, Build] = {
    "status-not-json": lambda victim: f"ONLINE {victim.tag}",
    "status-unheard-of": lambda victim: f'{{"status":"DANCING","reason":"{victim.tag}"}}',
    "status-unknown": lambda victim: f'{{"status":"UNKNOWN","reason":"{victim.tag}"}}',
    "status-missing": lambda victim: f'{{"reason":"{victim.tag}"}}',
    "status-number": lambda victim: f'{{"status":1,"reason":"{victim.tag}"}}',
}

POISON_KINDS: tuple[str, ...] = (*_PAYLOADS, *_TOPICS, *_STATUSES)


def poison_message(kind: str, victim: Victim) -> tuple[str, bytes]:
    """Topic and exact payload of one kind of poison."""
    if kind in _TOPICS:
        return _TOPICS[kind](victim), _good(victim).encode()
    status = kind in _STATUSES
    built = _STATUSES[kind](victim) if status else _PAYLOADS[kind](victim)
    return victim.topic(leaf="status" if status else "telemetry"), built.encode() if isinstance(built, str) else built


def poison_messages(random: Random, devices: Sequence[tuple[int, str]] = DEFAULT_DEVICES) -> Iterator[tuple[str, str, bytes]]:
    """Endless `(kind, topic, payload)`: all kinds of `POISON_KINDS` in a shuffled order, then all of them again.

    Args:
        random: Decides on order, victims and tags; the same state gives the same messages.
        devices: `(site id, serial number)` of the devices in whose names the messages are written.
    """
    kinds = list(POISON_KINDS)
    while True:
        random.shuffle(kinds)
        for kind in kinds:
            site_id, serial_number = random.choice(devices)
            yield kind, *poison_message(kind, Victim(site_id, serial_number, f"poison-{random.getrandbits(64):016x}"))

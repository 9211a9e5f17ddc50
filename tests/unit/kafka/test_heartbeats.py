"""When a partition may conclude from a heartbeat that time has gone on."""

from dataclasses import dataclass, field

import pytest

from ems_streams.domain.heartbeat import Heartbeat, decode_heartbeat
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY, SITE_PARTS
from ems_streams.kafka.heartbeats import SETTLED_MS, HeartbeatGate

NOON_MS = 1_759_579_200_000


@dataclass
class Stored:
    """A record of `ingress-heartbeats`, as far as a gate looks at it."""

    timestamp: int
    offset: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def take(gate: HeartbeatGate, at_ms: int, end: int, appended_ms: int | None = None) -> None:
    beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(at_ms), telemetry_end=end)
    gate.take(Stored(at_ms if appended_ms is None else appended_ms), beat)


def test_it_counts_when_everything_before_its_end_is_folded() -> None:
    gate = HeartbeatGate(DEVICE_TELEMETRY)
    take(gate, NOON_MS, 10)
    assert gate.advance(-1) is None
    assert gate.advance(8) is None
    assert gate.advance(9) == NOON_MS


def test_a_partition_without_telemetry_is_caught_up_with() -> None:
    gate = HeartbeatGate(DEVICE_TELEMETRY)
    take(gate, NOON_MS, 0)
    assert gate.advance(-1) == NOON_MS


def test_a_partition_that_is_always_a_little_behind_gets_there_all_the_same() -> None:
    """The newest heartbeat is never reached before another one comes; the oldest that waits is."""
    gate, reached = HeartbeatGate(DEVICE_TELEMETRY), []
    for second in range(0, 100, 5):
        take(gate, NOON_MS + second * 1000, 100 * second)
        reached.append(gate.advance(100 * (second - 12)))
    assert reached[-1] is not None
    assert reached[-1] >= NOON_MS + 60_000


def test_its_time_never_goes_back() -> None:
    gate = HeartbeatGate(DEVICE_TELEMETRY)
    take(gate, NOON_MS, 5)
    assert gate.advance(4) == NOON_MS
    take(gate, NOON_MS - 1000, 5)
    assert gate.advance(4) == NOON_MS


def test_a_clock_that_runs_ahead_of_the_brokers_does_not_count() -> None:
    gate = HeartbeatGate(DEVICE_TELEMETRY)
    take(gate, NOON_MS + 3_600_000, 0, appended_ms=NOON_MS)
    assert gate.advance(-1) == NOON_MS
    take(gate, NOON_MS + 10_000, 0, appended_ms=NOON_MS + 3_600_000)
    assert gate.advance(-1) == NOON_MS + 10_000


def test_for_a_topic_whose_end_it_does_not_tell_a_younger_one_has_to_be_read() -> None:
    gate = HeartbeatGate(SITE_PARTS)
    take(gate, NOON_MS, 10)
    assert gate.advance(1_000_000) is None
    take(gate, NOON_MS + SETTLED_MS - 1, 10)
    assert gate.advance(-1) is None
    take(gate, NOON_MS + SETTLED_MS, 10)
    assert gate.advance(-1) == NOON_MS
    take(gate, NOON_MS + 2 * SETTLED_MS, 10)
    assert gate.advance(-1) == NOON_MS + SETTLED_MS


def test_on_the_wire() -> None:
    beat = Heartbeat(ingress_id="ingress-0", timestamp=from_epoch_ms(NOON_MS), telemetry_end=12)
    assert beat.encode() == b'{"ingressId":"ingress-0","timestamp":"2025-10-04T12:00:00Z","telemetryEnd":12}'
    assert decode_heartbeat(beat.encode()) == beat


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b'{"ingressId":"i","timestamp":"2025-10-04T12:00:00Z"}',
        b'{"ingressId":"i","timestamp":"2025-10-04T12:00:00Z","telemetryEnd":-1}',
        b'{"ingressId":"i","timestamp":"2025-10-04T12:00:00Z","telemetryEnd":"1"}',
        b'{"ingressId":"i","timestamp":"2025-10-04T12:00:00","telemetryEnd":1}',
        b'{"ingressId":"i","timestamp":"yesterday","telemetryEnd":1}',
    ],
)
def test_what_is_none_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedError):
        decode_heartbeat(value)

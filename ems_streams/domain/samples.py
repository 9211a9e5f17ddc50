"""Messages of one device as bytes, one behind the other: what windows are calculated from.

A window is a function of the *set* of its samples. So samples are kept for as long as a window may be corrected, a repeated message is
recognised by its identity however late it comes again, and the order of arrival decides nothing.

`append`, `ordered_parts`, `split` and `minutes_of` are compiled where there is a C compiler (`_hot.pyx`, `_windows.pyx`).

A sample is its event time (epoch milliseconds, 8 bytes), its identity (8 bytes), the number of its metrics (1 byte), and for each of them
the number of its name (1 byte) and its value (a double). Everything is little-endian.
"""

import contextlib
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE
from ems_streams.domain.telemetry_record import TelemetryRecord
from ems_streams.domain.timestamps import MINUTE_MS

_HEADER = struct.Struct("<q8sB")
_VALUE = struct.Struct("<Bd")
HEADER_BYTES: Final = _HEADER.size
VALUE_BYTES: Final = _VALUE.size

Key = tuple[int, bytes]
"""Time and identity: the order of samples in a window."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Samples in the order of time, those of one time in the order of their identities; each identity once."""

    data: bytes
    repeated: int


def append(samples: bytearray, record: TelemetryRecord, identity: bytes, names: dict[str, int]) -> int:
    """Add a message at the end.

    Args:
        samples: Grows by one sample.
        record: The message.
        identity: `identifiers.telemetry_identity` of it.
        names: Number of every metric name that the device ever had; grows up to `MAX_METRICS_PER_DEVICE`.

    Returns:
        How many values were left out because the device already has the greatest number of names.
    """
    at = len(samples)
    samples += _HEADER.pack(record.timestamp_ms, identity, 0)
    kept = left_out = 0
    for name, value in record.metrics.items():
        number = names.get(name)
        if number is None:
            if len(names) >= MAX_METRICS_PER_DEVICE:
                left_out += 1
                continue
            number = names[name] = len(names)
        samples += _VALUE.pack(number, value)
        kept += 1
    samples[at + HEADER_BYTES - 1] = kept
    return left_out


def values_of(data: bytes | bytearray) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Time of every sample, with its values by the number of their metric; raises `struct.error` when the data are cut short."""
    at = 0
    end = len(data)
    while at < end:
        time_ms, _, count = _HEADER.unpack_from(data, at)
        at += HEADER_BYTES
        yield time_ms, [_VALUE.unpack_from(data, at + index * VALUE_BYTES) for index in range(count)]
        at += count * VALUE_BYTES


def pieces(data: bytes | bytearray) -> list[tuple[int, bytes, bytes]]:
    """Every sample as (time, identity, its bytes)."""
    found = []
    at = 0
    while at < len(data):
        time_ms, identity, count = _HEADER.unpack_from(data, at)
        stop = at + HEADER_BYTES + count * VALUE_BYTES
        found.append((time_ms, identity, bytes(data[at:stop])))
        at = stop
    return found


def ordered(*parts: bytes | bytearray) -> Ordered:
    """All samples of some buffers together, in order, each identity once, with the earliest of the times that it came with."""
    return Ordered(*ordered_parts(b"".join(parts)))


def ordered_parts(data: bytes) -> tuple[bytes, int]:
    """Samples in order, each identity once, and how many were left out for that."""
    every = sorted(pieces(data), key=lambda piece: piece[:2])
    seen: set[bytes] = set()
    kept = []
    for _, identity, sample in every:
        if identity not in seen:
            seen.add(identity)
            kept.append(sample)
    return b"".join(kept), len(every) - len(kept)


def split(data: bytes | bytearray, *borders_ms: int) -> list[bytes]:
    """Ordered samples cut at rising times: one more part than there are borders."""
    parts = []
    start = at = 0
    for border_ms in borders_ms:
        while at < len(data):
            time_ms, _, count = _HEADER.unpack_from(data, at)
            if time_ms >= border_ms:
                break
            at += HEADER_BYTES + count * VALUE_BYTES
        parts.append(bytes(data[start:at]))
        start = at
    parts.append(bytes(data[start:]))
    return parts


def minutes_of(data: bytes) -> list[int]:
    """Starts of the minutes that samples lie in, each once if they are in order."""
    return list(dict.fromkeys(time_ms - time_ms % MINUTE_MS for time_ms, _ in values_of(data)))


def first_ms(data: bytes | bytearray) -> int:
    """Time of the first of ordered samples; there must be one."""
    return int(_HEADER.unpack_from(data)[0])


python_append, python_ordered_parts, python_split, python_minutes_of = append, ordered_parts, split, minutes_of
if sys.byteorder == "little":  # the compiled ones take the bytes as they are
    with contextlib.suppress(ImportError):
        from ems_streams.domain._hot import append
        from ems_streams.domain._windows import minutes_of, ordered_parts, split

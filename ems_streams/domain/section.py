"""Statistics of a device's metrics over one span of time, as the bytes that are stored: folding changes them in place.

A state of thousands of devices does not fit into a processor's cache, and what an event costs is mostly how many places of memory it
touches. So a section is one buffer: header (start of the span, number of metrics), one byte per metric with the number of its name,
eight little-endian doubles per metric (`accumulators`). Storing it is a copy.

The two functions that fold are compiled where there is a C compiler (`_hot.pyx`); what stands here is what they do, and does it where
there is none.
"""

import struct
import sys
from collections.abc import Iterator, Mapping

from ems_streams.domain.accumulators import BYTES, FIELDS, Accumulator, Accumulators, add, merge, new
from ems_streams.domain.samples import values_of

_HEADER = struct.Struct("<qH")
_COUNT = struct.Struct("<H")
_COUNT_AT = 8
_NUMBERS_AT = _HEADER.size
_ACCUMULATOR = struct.Struct(f"<{FIELDS}d")
_unpack_from, _pack_into = _ACCUMULATOR.unpack_from, _ACCUMULATOR.pack_into


def new_section(start_ms: int) -> bytearray:
    """A section without metrics, of the span that starts at `start_ms`."""
    return bytearray(_HEADER.pack(start_ms, 0))


def add_samples(section: bytearray, samples: bytes | bytearray) -> None:
    """Add the values of samples (`samples`) in place; the section grows by the metrics that are new to it."""
    for time_ms, values in values_of(samples):
        end = _NUMBERS_AT + _count(section)
        for number, value in values:
            position = section.find(number, _NUMBERS_AT, end)
            if position < 0:
                _append(section, number, _ACCUMULATOR.pack(*new(value, time_ms)))
                end += 1
                continue
            at = end + (position - _NUMBERS_AT) * BYTES
            accumulator = list(_unpack_from(section, at))
            add(accumulator, value, time_ms)
            _pack_into(section, at, *accumulator)


def merge_section(into: bytearray, other: bytearray) -> None:
    """Merge every metric of another section of the same device in place."""
    for number, accumulator in _items(other):
        end = _NUMBERS_AT + _count(into)
        position = into.find(number, _NUMBERS_AT, end)
        if position < 0:
            _append(into, number, _ACCUMULATOR.pack(*accumulator))
            continue
        at = end + (position - _NUMBERS_AT) * BYTES
        mine = list(_unpack_from(into, at))
        merge(mine, accumulator)
        _pack_into(into, at, *mine)


def accumulators_of(section: bytes | bytearray, names: Mapping[str, int]) -> Accumulators:
    """A section as accumulators by metric name, which are copies.

    Raises:
        IndexError: A number that no name has.
        struct.error: The section is cut short.
    """
    by_number = list(names)
    return {by_number[number]: accumulator for number, accumulator in _items(section)}


def section_at(data: bytes, at: int) -> tuple[int, bytearray]:
    """Start of the span and a copy of the section that begins at `at`; raises `struct.error` when it is cut short."""
    start_ms, count = _HEADER.unpack_from(data, at)
    size = _HEADER.size + count * (1 + BYTES)
    if at + size > len(data):
        raise struct.error(f"a section of {size} bytes at byte {at} of {len(data)}")
    return start_ms, bytearray(data[at : at + size])


def _count(section: bytes | bytearray) -> int:
    return int(_COUNT.unpack_from(section, _COUNT_AT)[0])


def _items(section: bytes | bytearray) -> Iterator[tuple[int, Accumulator]]:
    end = _NUMBERS_AT + _count(section)
    for position in range(_NUMBERS_AT, end):
        yield section[position], list(_unpack_from(section, end + (position - _NUMBERS_AT) * BYTES))


def _append(section: bytearray, number: int, packed: bytes) -> None:
    count = _count(section)
    _COUNT.pack_into(section, _COUNT_AT, count + 1)
    section.insert(_NUMBERS_AT + count, number)
    section += packed


python_add_samples, python_merge_section = add_samples, merge_section
COMPILED = False
"""Whether `add_samples` and `merge_section` are compiled."""
if sys.byteorder == "little":  # the compiled ones take the bytes as they are
    try:
        from ems_streams.domain._hot import add_samples, merge_section
    except ImportError:
        pass
    else:
        COMPILED = True

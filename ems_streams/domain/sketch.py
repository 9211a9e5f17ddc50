"""Quantiles from a DDSketch (Masson, Rim, Lee: VLDB 2019): counts of values in bins whose borders grow by a constant factor.

A quantile is within `RELATIVE_ERROR` of a value that is there at that rank. Sketches are sets of counts, so their result does not depend on
the order of values, and merging them adds counts: nothing is lost by it. Values nearer to 0 than `SMALLEST` count as 0.

A sketch is a dict from bin to count. The bin of a positive value v is `OFFSET + ceil(log(v) / log(gamma))`, that of a negative one the
negative of the bin of its magnitude, 0 is for 0; so bins are in the order of their values.
"""

from collections.abc import Iterable, Sequence
from math import ceil, log, log1p
from typing import Final

RELATIVE_ERROR: Final = 0.01
SMALLEST: Final = 1e-9

Sketch = dict[int, int]

GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA: Final = log1p(2 * RELATIVE_ERROR / (1 - RELATIVE_ERROR))
OFFSET: Final = 1 - ceil(log(SMALLEST) / LOG_GAMMA)
"""Makes the bin of the smallest positive value 1."""


def bin_of(value: float) -> int:
    """Bin that a finite value is counted in."""
    if value > SMALLEST:
        return OFFSET + ceil(log(value) / LOG_GAMMA)
    if value < -SMALLEST:
        return -(OFFSET + ceil(log(-value) / LOG_GAMMA))
    return 0


def value_of(bin_number: int) -> float:
    """The value that stands for a bin: no value in it is further away than `RELATIVE_ERROR`."""
    if bin_number == 0:
        return 0.0
    exponent = abs(bin_number) - OFFSET
    # Of the greatest bins the upper border is beyond the range of a float.
    magnitude = 2 * GAMMA ** (exponent - 1) / (1 / GAMMA + 1)
    return magnitude if bin_number > 0 else -magnitude


def add(sketch: Sketch, value: float) -> None:
    """Count a value in place."""
    number = bin_of(value)
    sketch[number] = sketch.get(number, 0) + 1


def merge(into: Sketch, other: Sketch) -> None:
    """Add the counts of another sketch in place."""
    get = into.get
    for number, count in other.items():
        into[number] = get(number, 0) + count


def quantiles(sketch: Sketch, shares: Sequence[float], least: float, greatest: float) -> list[float]:
    """Values at ranks.

    Args:
        sketch: Not empty.
        shares: Ranks as shares of the count, from 0 to 1, rising.
        least: Least of all values, which is known exactly.
        greatest: Greatest of all values.

    Returns:
        For each share q the value of rank floor(q * (n - 1)), to within `RELATIVE_ERROR` of it.
    """
    total = sum(sketch.values())
    found: list[float] = []
    seen = 0
    bins = iter(sorted(sketch.items()))
    number, count = next(bins)
    for share in shares:
        rank = int(share * (total - 1))
        while seen + count <= rank:
            seen += count
            number, count = next(bins)
        found.append(min(max(value_of(number), least), greatest))
    return found


def encode(sketch: Sketch) -> bytes:
    """Canonical bytes: bins in order, each as its distance from the one before and its count, as variable-length integers."""
    data = bytearray()
    before = 0
    for index, (number, count) in enumerate(sorted(sketch.items())):
        # The first may be negative; zigzag keeps it short.
        _append(data, (number << 1 ^ number >> 31) if index == 0 else number - before)
        _append(data, count)
        before = number
    return bytes(data)


def decode(data: bytes) -> Sketch:
    """The sketch of its bytes; raises `ValueError` when they are cut short."""
    numbers = list(_integers(data))
    if len(numbers) % 2:
        raise ValueError(f"a sketch of {len(data)} bytes ends in the middle of a bin")
    sketch: Sketch = {}
    number = 0
    for index in range(0, len(numbers), 2):
        number = (numbers[0] >> 1 ^ -(numbers[0] & 1)) if index == 0 else number + numbers[index]
        sketch[number] = numbers[index + 1]
    return sketch


def _append(data: bytearray, number: int) -> None:
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)


def _integers(data: bytes) -> Iterable[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
            continue
        yield number
        number = shift = 0
    if shift:
        raise ValueError(f"a sketch of {len(data)} bytes ends in the middle of a number")

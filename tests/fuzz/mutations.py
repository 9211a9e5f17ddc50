"""Random inputs near good ones: bytes that are changed, and JSON of which a part is another than expected. Every input follows from a seed."""

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

_STRANGE: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**53, 2**63, -(2**63), 1e308, -1e308, 0.1, "", "x" * 200, "\x00", "\ud7ff", "2025-10-04T12:00:00Z",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "NaN", [], {}, [[]], {"a": None}, [1, "2", None], "../../etc/passwd", "’", "1" * 400,
)  # fmt: skip
_LIMITS: Final = (2**31, 2**32, 2**63 - 1, 2**64 - 1, 4_102_444_800_000)
_BYTES: Final = (
    b"\x00",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[",
    b"\\u0000",
    b"NaN",
    b"1e999",
    b"-",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b":",
    b",",
)
_NESTED: Final = (b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 2000)


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """An input that is near a seed, or has nothing to do with it."""
    kind = chance.random()
    if kind < 0.05:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.08:
        return chance.choice(_NESTED)
    head, newline, body = seed.rpartition(b"\n")
    if kind < 0.6 and (changed := _json(body, chance)) is not None:
        return head + newline + changed
    return _bytes(seed, chance)


def _json(body: bytes, chance: random.Random) -> bytes | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for _ in range(chance.randrange(1, 4)):
        value = _changed(value, chance)
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return None


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(list(value))
        what = chance.random()
        if what < 0.2:
            return {each: kept for each, kept in value.items() if each != name}
        if what < 0.3:
            return {**value, f"{name}X": chance.choice(_STRANGE)}
        return {**value, name: _changed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    return chance.choice(_STRANGE)


def _bytes(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        what = chance.random()
        if what < 0.4 and at < len(data):
            data[at] = chance.randrange(256)
        elif what < 0.7:
            data[at:at] = chance.choice(_BYTES)
        elif what < 0.9:
            del data[at : at + chance.randrange(1, 20)]
        else:
            del data[at:]
    return bytes(data)


def systematic(seed: bytes) -> Iterator[bytes]:
    """A seed with each part of its JSON left out, and replaced by each of what is strange; nothing of a seed that has no JSON."""
    head, newline, value = seed.partition(b"\n")
    line, more, rest = value.partition(b"\n")
    # A key or topic and JSON; the same with something behind it; JSON alone; JSON behind a version.
    places = ((head + newline, value, b""), (head + newline, line, more + rest), (b"", seed, b""), (seed[:1], seed[1:], b""))
    for before, body, after in places:
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            continue
        yield from (before + changed + after for changed in _encoded(_variants(parsed)))
        return


def _encoded(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        try:
            yield orjson.dumps(value)
        except TypeError:
            continue  # lone surrogates cannot be written


def _variants(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name in value:
            yield {each: kept for each, kept in value.items() if each != name}
            yield from ({**value, name: changed} for changed in _variants(value[name]))
    elif isinstance(value, list):
        for at in range(len(value)):
            yield from ([*value[:at], changed, *value[at + 1 :]] for changed in _variants(value[at]))
    yield from (*_STRANGE, *_LIMITS)

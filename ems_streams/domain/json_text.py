"""JSON of others: read only if it can be written again, and written whatever it says."""

import json
from typing import Any

import orjson


def read_json(content: bytes | str) -> Any:
    """The value; raises `ValueError` for what is no JSON, and for what is nested so deeply that it could not be written.

    `orjson` reads 1,024 levels and writes 254: whatever is made of more could be put neither into Kafka nor into an answer.
    """
    value = orjson.loads(content)
    # With room for what is put around it.
    if not is_writable([[[[value]]]]):
        raise ValueError("nested too deeply: expected at most 250 levels")
    return value


def write_json(value: Any) -> bytes:
    """A value as JSON, whatever its texts are: half characters, as of bytes that are no UTF-8, become question marks, and what JSON does not know a text."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def is_writable(value: Any) -> bool:
    """Whether a value can be written as JSON: its texts are UTF-8, its whole numbers have 64 bits, and it is not nested too deeply."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True

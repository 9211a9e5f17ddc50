"""What is said of a value that is refused: which one it is, shortened, and what was expected."""

from typing import Final

from ems_streams.errors import MalformedError

SHOWN_MAX: Final = 100
"""So many characters of a value are shown."""

_TYPE_NAMES: Final = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "a boolean",
    type(None): "null",
    int: "a number",
    float: "a number",
}


def invalid(name: str, value: object, expected: str) -> MalformedError:
    """A field of JSON has a value that it cannot have."""
    return MalformedError("invalid_field", f"{name}={shown(value)}: {expected}")


def shown(value: object) -> str:
    """A value of JSON, as far as it is short and flat."""
    # Not what is inside of objects and arrays: they may be nested deeper than repr can go.
    if isinstance(value, dict | list):
        return type_name(value)
    text = repr(value[:SHOWN_MAX] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def type_name(value: object) -> str:
    """What a value of JSON is, in words."""
    return _TYPE_NAMES.get(type(value), "something else")

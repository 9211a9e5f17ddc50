"""What the binary codecs of all states share."""

from ems_streams.errors import EmsError


class StateCodecError(EmsError):
    """Stored bytes that are no state of this version; the store or the changelog is damaged, or from a newer release.

    Args:
        kind: Which state, such as `device aggregates`.
        detail: What was found and what was expected.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"stored {kind} cannot be read: {detail}")
        self.kind = kind
        self.detail = detail


def check_version(kind: str, data: bytes, version: int) -> None:
    """Raise `StateCodecError` unless the first byte is the version that this release writes."""
    if not data:
        raise StateCodecError(kind, "the value is empty")
    if data[0] != version:
        raise StateCodecError(kind, f"version {data[0]}, expected {version}")


def whole_number(value: object) -> int:
    """The number, if it is a whole one that can be stored again; raises `ValueError`.

    JSON with more digits than 64 bits hold is read as a float, from which an int could be made that cannot be written.
    """
    if type(value) is not int:
        raise ValueError(f"{value!r}: expected a whole number of 64 bits")
    return value

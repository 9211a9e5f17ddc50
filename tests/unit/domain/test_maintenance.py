"""Maintenance windows without an id get one by what they say, whatever that is."""

import pytest

from ems_streams.domain.maintenance import ID_PREFIX, decode_window
from ems_streams.errors import MalformedError

SAID = b'"sites":[2],"startsAt":"2025-10-04T11:00:00Z","endsAt":"2025-10-04T13:00:00Z","reason":"roof","createdBy":"Ann"'


def test_the_id_depends_on_what_is_said_and_not_on_its_order() -> None:
    window = decode_window(b"{" + SAID + b"}")
    assert window.window_id.startswith(ID_PREFIX)
    assert decode_window(b'{"createdBy":"Ann","reason":"roof",' + SAID[: SAID.index(b',"reason"')] + b"}") == window


@pytest.mark.parametrize("odd", [b"4" * 40, b"[" * 300 + b"]" * 300], ids=["a number of 40 digits", "lists in lists"])
def test_what_no_id_can_be_made_of_is_malformed(odd: bytes) -> None:
    with pytest.raises(MalformedError, match=r"expected numbers of up to 64 bits|recursion"):
        decode_window(b"{" + SAID + b',"more":' + odd + b"}")


def test_with_an_id_fields_that_nobody_knows_are_passed_over() -> None:
    assert decode_window(b'{"windowId":"w",' + SAID + b',"more":' + b"4" * 40 + b"}").window_id == "w"

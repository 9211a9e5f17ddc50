"""Recent identities: a window over the last messages, compiled or not."""

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.recent_identities import last, python_remember, remember

Remember = Callable[..., bool]

both = pytest.mark.parametrize("remember", [python_remember, remember], ids=["python", "used"])
# Few different bytes, so that identities come again, and are found across the border of two others.
identities = st.binary(min_size=8, max_size=8).map(lambda raw: bytes(byte % 2 for byte in raw)) | st.sampled_from([bytes(8), b"\1" * 8])


@both
@given(st.lists(identities, max_size=80), st.integers(1, 6))
def test_it_is_a_queue_without_repeats(remember: Remember, sent: list[bytes], limit: int) -> None:
    recent = bytearray()
    model: deque[bytes] = deque(maxlen=limit)
    for identity in sent:
        is_new = identity not in model
        assert remember(recent, identity, limit) is is_new
        if is_new:
            model.append(identity)
        assert last(recent, limit) == b"".join(model)
        assert len(recent) <= 2 * limit * len(identity)


@both
def test_an_identity_across_two_others_is_not_there(remember: Remember) -> None:
    recent = bytearray(b"\0\0\0\0\1\1\1\1" + b"\2\2\2\2\0\0\0\0")
    assert remember(recent, b"\1\1\1\1\2\2\2\2", 4) is True
    assert len(recent) == 24


@both
@given(st.integers(0, 40), st.integers(1, 6))
def test_what_is_surely_new_is_appended_without_a_look(remember: Remember, count: int, limit: int) -> None:
    looked, unlooked = bytearray(), bytearray()
    for number in range(count):
        identity = number.to_bytes(8, "big")
        assert remember(looked, identity, limit)
        assert remember(unlooked, identity, limit, True)
        assert looked == unlooked


@both
@pytest.mark.parametrize("identity", [b"", b"1234567", b"123456789"])
def test_anything_but_eight_bytes_is_refused(remember: Remember, identity: bytes) -> None:
    with pytest.raises(ValueError, match="expected 8"):
        remember(bytearray(), identity, 4)

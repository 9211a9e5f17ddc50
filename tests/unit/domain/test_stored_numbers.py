"""Stored numbers of more digits than 64 bits hold are damage, and are said to be: found by fuzzing, they could be read and not be written again."""

import orjson
import pytest

from ems_streams.domain import commands_codec
from ems_streams.domain.silence import Listening, decode_listening, encode_listening
from ems_streams.domain.state_codec import StateCodecError
from tests.unit.domain.command_builders import begun

HUGE = b"2" * 90


@pytest.mark.parametrize("stored", [b"[1,%s,[]]", b"[%s,1,[]]", b'[1,1,[["i",%s]]]', b"[1.5,1,[]]", b'["1",1,[]]'])
def test_of_listening(stored: bytes) -> None:
    with pytest.raises(StateCodecError, match="listening cannot be read"):
        decode_listening(b"\x81" + (stored % HUGE if b"%s" in stored else stored))
    assert decode_listening(encode_listening(Listening(1, 2, {"i": 2}))) == Listening(1, 2, {"i": 2})


@pytest.mark.parametrize("stored", [b"\xc1" + HUGE, b"\xc1true", b'\x81[["c",' + HUGE + b"]]"])
def test_of_commands(stored: bytes) -> None:
    with pytest.raises(StateCodecError, match="expected a whole number"):
        commands_codec.decode(stored)


@pytest.mark.parametrize("field", range(3, 9))
def test_of_each_number_of_a_command(field: int) -> None:
    stored = commands_codec.encode(begun())
    fields = orjson.loads(stored[1:])
    assert commands_codec.encode(commands_codec.decode(stored)) == stored
    fields[field] = 1e90
    with pytest.raises(StateCodecError):
        commands_codec.decode(stored[:1] + orjson.dumps(fields))

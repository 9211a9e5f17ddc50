"""A process of ours as another release would be, which stores aggregates in another form: `python -m tests.support.other_release WHICH ARGUMENT...`.

`reads-both` writes the form of today and reads the next one as well; `next` reads both and writes the next one. Released so, one after the other,
no worker ever meets a form that it does not know, whichever way partitions move, and one can go back by the same two steps.
"""

import sys
import zlib
from typing import Any

import tables.device_aggregates
from ems_streams.domain import aggregates_codec
from ems_streams.domain.aggregates import DeviceAggregates

NEXT_VERSION = 3
"""Of the state of a device: what follows the version byte is today's form, compressed."""

_encode, _decode, _peek = aggregates_codec.encode, aggregates_codec.decode, aggregates_codec.peek


def encode_next(state: DeviceAggregates) -> bytes:
    return bytes((NEXT_VERSION,)) + zlib.compress(_encode(state), 1)


def _as_today(data: bytes) -> bytes:
    return zlib.decompress(data[1:]) if data[:1] == bytes((NEXT_VERSION,)) else data


def become(which: str) -> None:
    """Read both forms; write the next one if this is the release `next`."""

    def decode(data: bytes) -> DeviceAggregates:
        return _decode(_as_today(data))

    def peek(data: bytes) -> Any:
        return _peek(_as_today(data))

    aggregates_codec.decode, aggregates_codec.peek = decode, peek  # the table asks the module each time
    if which == "next":
        aggregates_codec.encode = encode_next
    elif which != "reads-both":
        raise SystemExit(f"{which}: expected reads-both or next")


assert tables.device_aggregates.aggregates_codec is aggregates_codec

if __name__ == "__main__":
    become(sys.argv.pop(1))
    from ems_streams.cli.main import run

    run()

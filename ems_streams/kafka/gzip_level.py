"""A gzip level that pays: aiokafka compresses at level 9 and has no setting for another.

On telemetry, level 9 takes five times as long as level 2, which makes it the dearest step on the way from MQTT into Kafka, for a fifth less bytes.
"""

import sys
import zlib
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

LEVEL = 2
_GZIP_WINDOW_BITS = 31
"""The largest window, and a gzip header around it (`zlib.compressobj`)."""


def gzip_encode(payload: bytes | bytearray | memoryview, compresslevel: int | None = None) -> bytes:
    """The payload as one gzip member; the same signature as aiokafka's own."""
    compressor = zlib.compressobj(compresslevel or LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return compressor.compress(payload) + compressor.flush()


def use_fast_gzip() -> None:
    """Make every producer of this process compress at `LEVEL`."""
    # The builder is a compiled module that looks the function up in itself by name.
    module: Any = sys.modules[DefaultRecordBatchBuilder.__module__]
    if not hasattr(module, "gzip_encode"):
        raise RuntimeError(f"{module.__name__} has no gzip_encode: this version of aiokafka compresses in another way")
    module.gzip_encode = gzip_encode

"""The last few identities of a device's messages, one behind the other in one buffer: what a repeated message is recognised by.

`remember` is compiled where there is a C compiler (`_hot`); what stands here is what it does, and does it where there is none.
"""

import contextlib

from ems_streams.domain.identifiers import IDENTITY_BYTES


def remember(recent: bytearray, identity: bytes, limit: int) -> bool:
    """Append an identity in place, unless it is there already.

    Args:
        recent: Oldest first; changed in place.
        identity: `IDENTITY_BYTES` long.
        limit: How many are kept: beyond it the oldest goes.

    Returns:
        False when the identity was there; nothing has changed then.
    """
    if len(identity) != IDENTITY_BYTES:
        raise ValueError(f"an identity of {len(identity)} bytes, expected {IDENTITY_BYTES}")
    at = recent.find(identity)
    while at >= 0:
        if at % IDENTITY_BYTES == 0:
            return False
        at = recent.find(identity, at + 1)  # what was found spans two others
    if len(recent) >= limit * IDENTITY_BYTES:
        del recent[:IDENTITY_BYTES]
    recent += identity
    return True


python_remember = remember
with contextlib.suppress(ImportError):
    from ems_streams.domain._hot import remember

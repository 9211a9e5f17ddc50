"""The last few identities of a device's messages, one behind the other in one buffer: what a repeated message is recognised by.

`remember` is compiled where there is a C compiler (`_hot`); what stands here is what it does, and does it where there is none.
"""

import contextlib

from ems_streams.domain.identifiers import IDENTITY_BYTES


def remember(recent: bytearray, identity: bytes, limit: int, surely_new: bool = False) -> bool:
    """Append an identity in place, unless it is among the last `limit` ones.

    Args:
        recent: Oldest first; changed in place. Holds up to twice the limit, so that it is seldom moved; `last` has those that count.
        identity: `IDENTITY_BYTES` long.
        limit: How many count.
        surely_new: It cannot be there, so that nobody has to look.

    Returns:
        False when the identity was there; nothing has changed then.
    """
    if len(identity) != IDENTITY_BYTES:
        raise ValueError(f"an identity of {len(identity)} bytes, expected {IDENTITY_BYTES}")
    kept = limit * IDENTITY_BYTES
    if not surely_new:
        at = recent.find(identity, max(len(recent) - kept, 0))
        while at >= 0:
            if at % IDENTITY_BYTES == 0:
                return False
            at = recent.find(identity, at + 1)  # what was found spans two others
    if len(recent) >= 2 * kept:
        del recent[:kept]
    recent += identity
    return True


def last(recent: bytearray, limit: int) -> bytearray:
    """A copy of the last `limit` identities."""
    return recent[-limit * IDENTITY_BYTES :]


python_remember = remember
with contextlib.suppress(ImportError):
    from ems_streams.domain._hot import remember

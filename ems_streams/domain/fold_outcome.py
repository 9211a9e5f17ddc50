"""What folding a message into a device's state comes to, and the limits that decide it."""

from enum import IntEnum
from typing import Final

RECENT_IDENTITIES: Final = 64
"""So many messages with ids, or in no window, a device is recognised to have sent before."""
FUTURE_TOLERANCE_MS: Final = 3_600_000
NEVER_MS: Final = -(2**62)
NOT_YET_MS: Final = 2**62


class Outcome(IntEnum):
    """What became of a message."""

    FOLDED = 0
    DUE = 1
    """Folded, and there is something for `window_closing.settle` to do."""
    LATE = 2
    """Beyond the correction horizon: in the total, but in no window."""
    REPEATED = 3
    """A message that was folded before."""

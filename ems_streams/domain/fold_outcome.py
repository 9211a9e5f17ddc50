"""What folding a message into a device's state comes to, and the limits that decide it."""

from enum import IntEnum
from typing import Final

RECENT_IDENTITIES: Final = 64
"""So many messages with ids, or in no window, a device is recognised to have sent before."""
FUTURE_TOLERANCE_MS: Final = 3_600_000
OPEN_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of samples that a device has in minutes that are open: a state has to fit into a record of its changelog, with room to spare. What is more is in no window."""
QUARTER_BYTES_MAX: Final = 8 * 1024 * 1024
"""As above, of a quarter of an hour: 135,000 messages of five metrics."""
NEVER_MS: Final = -(2**62)
NOT_YET_MS: Final = 2**62


class Outcome(IntEnum):
    """What became of a message."""

    FOLDED = 0
    DUE = 1
    """Folded, and there is something for `window_closing.settle` to do."""
    LATE = 2
    """Beyond the correction horizon, or more than a device may have in open minutes: in the total, but in no window."""
    REPEATED = 3
    """A message that was folded before."""

"""Flapping: a device that changes its status so often that single changes are no news.

As routers damp routes that flap (RFC 2439): each change adds 1 to a score, which decays by half in each half-life. From `threshold` on a device
is flapping; it is no more when its score has fallen to `reuse`. The score has a ceiling, which bounds how long a device has to be still.
"""

import math
from dataclasses import dataclass
from typing import Final

REUSE_SHARE: Final = 0.25
CEILING_SHARE: Final = 2.0
"""With these a device has to be still for one to three half-lives, plus what it takes the score to fall to the threshold."""
_DIGITS: Final = 9
"""So that the last bit of a platform's power function decides nothing."""


@dataclass(frozen=True, slots=True)
class FlappingPolicy:
    """When a device is flapping.

    Attributes:
        threshold: Score from which on it is; 0 for never.
        half_life_ms: Time in which a score falls by half.
    """

    threshold: float
    half_life_ms: int

    @property
    def reuse(self) -> float:
        """Score at which it is no more."""
        return self.threshold * REUSE_SHARE

    def changed(self, score: float, elapsed_ms: int) -> float:
        """The score after one more change, so long after it was `score`."""
        decayed = score * math.exp2(-max(elapsed_ms, 0) / self.half_life_ms)
        return round(min(decayed + 1.0, max(self.threshold * CEILING_SHARE, 1.0)), _DIGITS)

    def is_flapping(self, score: float) -> bool:
        """Whether a score is that of a device that begins to flap."""
        return 0 < self.threshold <= score

    def still_after_ms(self, score: float) -> int:
        """How long after it was `score` a device is flapping no more if nothing changes."""
        if self.threshold <= 0 or score <= self.reuse:
            return 0
        return math.ceil(round(self.half_life_ms * math.log2(score / self.reuse), 3))

"""What a fuzz target is: a piece of the system that is given bytes from outside, and either takes them or refuses them in its own words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ems_streams.errors import EmsError


@dataclass(frozen=True, slots=True)
class Target:
    """A target.

    Attributes:
        name: In reports, and for `--only`.
        about: In a few words.
        feed: Gives it bytes; whatever it raises but its `refusals` is a crash.
        seeds: Inputs to start from; the first one must be taken.
        refusals: Errors by which it refuses.
    """

    name: str
    about: str
    feed: Callable[[bytes], object]
    seeds: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = (EmsError,)

    def takes(self, data: bytes) -> bool:
        """Whether it takes an input, rather than refuses it; raises what nobody has thought of."""
        try:
            taken = self.feed(data)
        except self.refusals:
            return False
        return taken is not False


def split(data: bytes) -> tuple[bytes, bytes]:
    """An input as its first line, such as a topic or a key, and what follows."""
    head, _, rest = data.partition(b"\n")
    return head, rest

"""Smooth random functions of time: the same seed gives the same weather, whatever is asked of it and in whatever order."""

from random import Random

_LATTICE_SIZE = 512


class SmoothNoise:
    """A random function of time with values in 0..1 that changes over about `period_s`; repeats after 512 periods.

    A value depends on the seed and on the moment only, so that devices of one site see one sky.
    """

    __slots__ = ("_lattice", "_period_s")

    def __init__(self, random: Random, period_s: float) -> None:
        self._lattice = [random.random() for _ in range(_LATTICE_SIZE)]
        self._period_s = period_s

    def at(self, moment_s: float) -> float:
        """Value at a moment (seconds since the epoch)."""
        position = moment_s / self._period_s
        index = int(position // 1)
        fraction = position - index
        before = self._lattice[index % _LATTICE_SIZE]
        after = self._lattice[(index + 1) % _LATTICE_SIZE]
        return before + (after - before) * fraction * fraction * (3.0 - 2.0 * fraction)


def jitter(random: Random, amplitude: float) -> float:
    """A uniform error in -amplitude..amplitude, for the last digits of a measurement."""
    return (random.random() * 2.0 - 1.0) * amplitude

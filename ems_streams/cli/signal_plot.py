"""A signal over time in the terminal, with its limits and the time in which an alarm stood."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH = 90
HEIGHT = 12
_LABEL = 10


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn.

    Attributes:
        times_ms: Of the values, rising.
        values: As many.
        limits: Lines at values, each with its name.
        marks: Times with a letter each, drawn below.
        alarm: From when to when the alarm stood; None draws none.
    """

    times_ms: Sequence[int]
    values: Sequence[float]
    limits: Sequence[tuple[str, float]] = ()
    marks: Sequence[tuple[str, int]] = ()
    alarm: tuple[int, int] | None = None


def draw(plot: Plot, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """Lines of text: the range of the values in each column, limits as lines, marks below, and the alarm as a bar. Empty without values."""
    if not plot.values:
        return []
    shown = [*plot.values, *(value for _, value in plot.limits)]
    low, high = min(shown), max(shown)
    step = (high - low) / (height - 1) or 1.0
    canvas = [[" "] * width for _ in range(height)]

    def row_of(value: float) -> int:
        return height - 1 - round((value - low) / step)

    for _, value in plot.limits:
        canvas[row_of(value)] = ["-"] * width
    for column, (lowest, highest) in enumerate(_joined(_columns(plot, width))):
        for row in range(row_of(highest), row_of(lowest) + 1):
            canvas[row][column] = "█"
    names = {row_of(value): name for name, value in plot.limits}
    labels = {0: f"{high:.5g}", height - 1: f"{low:.5g}"} | {row: f"{name}" for row, name in names.items()}
    lines = [f"{labels.get(row, ''):>{_LABEL}} │{''.join(cells).rstrip()}" for row, cells in enumerate(canvas)]
    return [*lines, f"{'':>{_LABEL}} └{''.join(_axis(plot, width)).rstrip()}"]


def _joined(columns: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """So that a jump from one column to the next is seen as a line, and not as a hole."""
    joined = [columns[0]]
    for before, here in pairwise(columns):
        joined.append((min(here[0], before[1]), max(here[1], before[0])))
    return joined


def _columns(plot: Plot, width: int) -> list[tuple[float, float]]:
    """Least and greatest value in each column; where there is none, that of the one before, as a signal stays until it is told otherwise."""
    found: list[tuple[float, float] | None] = [None] * width
    for time_ms, value in zip(plot.times_ms, plot.values, strict=True):
        column = _column(plot, time_ms, width)
        before = found[column]
        found[column] = (value, value) if before is None else (min(before[0], value), max(before[1], value))
    for index, (before, here) in enumerate(pairwise(found), 1):
        if here is None:
            found[index] = None if before is None else (before[1], before[1])
    return [each if each is not None else (plot.values[0], plot.values[0]) for each in found]


def _column(plot: Plot, time_ms: int, width: int) -> int:
    first, last = plot.times_ms[0], plot.times_ms[-1]
    share = (time_ms - first) / (last - first) if last > first else 0.0
    return min(width - 1, max(0, int(share * (width - 1))))


def _axis(plot: Plot, width: int) -> list[str]:
    axis = ["─"] * width
    if plot.alarm is not None:
        for column in range(_column(plot, plot.alarm[0], width), _column(plot, plot.alarm[1], width) + 1):
            axis[column] = "▀"
    for letter, time_ms in plot.marks:
        axis[_column(plot, time_ms, width)] = letter
    return axis

"""Shows a run to a person (a progress bar) or to a log (a line every five seconds)."""

import asyncio
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ems_streams.dev.simulator.summary import Progress

_LINE_EVERY_S = 5.0
_DRAW_EVERY_S = 0.2


async def show(progress: Callable[[], Progress], total: int | None, console: Console) -> None:
    """Show until cancelled; `total` is the number of telemetry messages to come, if it is known."""
    if console.is_terminal:
        await _show_bar(progress, total, console)
    else:
        await _show_lines(progress, console)


async def _show_bar(progress: Callable[[], Progress], total: int | None, console: Console) -> None:
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=total)
        while True:
            now = progress()
            bar.update(task, completed=now.published, description=_line(now))
            await asyncio.sleep(_DRAW_EVERY_S)


async def _show_lines(progress: Callable[[], Progress], console: Console) -> None:
    while True:
        await asyncio.sleep(_LINE_EVERY_S)
        console.print(_line(progress()), highlight=False, soft_wrap=True)


def _line(now: Progress) -> str:
    return f"sent {now.published}  acknowledged {now.acknowledged}  {now.rate:.0f} msg/s  in flight {now.in_flight}  lag {now.lag_s:.2f} s"

"""A bar with rate and time left on stderr, for commands that take a while."""

import contextlib
from collections.abc import Callable, Iterator

from ems_streams.cli.output import error_console


@contextlib.contextmanager
def progress_bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Gives a function to be told how much is done, and of how much if that was not known; nothing is drawn where nobody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    console = error_console()
    if not (shown and console.is_terminal):
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of=total: bar.update(task, completed=done, total=of)

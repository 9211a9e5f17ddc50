"""The status screen: what is up, where to look, how much passes, what has happened."""

import contextlib
import sys
import termios
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ems_streams.dev.board import Board, age
from ems_streams.dev.places import shorten
from ems_streams.dev.units import Notice, State

_COLOURS = {
    State.STARTING: "yellow",
    State.READY: "green",
    State.FAILING: "red",
    State.RESTARTING: "bold red",
    State.STOPPED: "dim",
}
_AIRY_HEIGHT = 32
_NOTICES_SHOWN = 6
_NOTICES_SHOWN_LOW = 3
_MARKS = {State.STARTING: "◌", State.READY: "●", State.FAILING: "▲", State.RESTARTING: "↻", State.STOPPED: "○"}
_NOTICE_COLOURS = {"died": "red", "failing": "red", "killed": "red", "restarted": "yellow", "ready": "green"}


class Screen:
    """Draws a board in a terminal, in place; on `close` the last picture stays."""

    def __init__(self, board: Board, console: Console | None = None) -> None:
        self.board = board
        self._console = console or Console(highlight=False)
        self._spinner = Spinner("dots")
        self._downloaded: tuple[int, int] | None = None
        # Drawn by `tick` and not by a thread: the board changes on the event loop.
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._render)

    def open(self) -> None:
        self._echo(wanted=False)
        self._live.start(refresh=True)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()
        self._echo(wanted=True)

    def _echo(self, *, wanted: bool) -> None:
        """Whether the terminal shows `^C` for Ctrl-C, in the middle of the picture."""
        with contextlib.suppress(OSError, ValueError, termios.error):
            attributes = termios.tcgetattr(sys.stdin)
            attributes[3] = attributes[3] | termios.ECHOCTL if wanted else attributes[3] & ~termios.ECHOCTL
            # Without this, Ctrl-C throws away what is on its way to the screen, and the next picture lands in the wrong place.
            attributes[3] = attributes[3] & ~termios.NOFLSH if wanted else attributes[3] | termios.NOFLSH
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, attributes)

    def step(self, text: str) -> None:
        self.tick()

    def progress(self, done: int, total: int) -> None:
        self._downloaded = (done, total) if done < total else None

    def notice(self, notice: Notice) -> None:
        pass

    def up(self) -> None:
        pass

    def tick(self) -> None:
        # The terminal may have gone; the stack stays up until it is told to stop.
        with contextlib.suppress(OSError, ValueError):
            self._live.refresh()

    def failed(self, unit: str, reason: str, log_file: Path, lines: list[str]) -> None:
        self.close()
        self._console.print(Text(f"{unit} {reason}; the end of {shorten(log_file)}:", style="red"))
        for line in lines:
            self._console.print(Text(f"    {line}", style="dim"), soft_wrap=True)

    def _render(self) -> RenderableType:
        board = self.board
        parts: list[RenderableType] = [self._header()]
        if self._downloaded is not None:
            parts.append(self._download(*self._downloaded))
        if board.units:
            parts.append(self._units())
        if board.up:
            parts += [self._traffic(), self._places()]
        # What would not fit is cut off at the bottom: on a low terminal the empty lines go first.
        airy = self._console.height >= _AIRY_HEIGHT
        lines = [part for pair in zip(parts, [Text("")] * len(parts), strict=True) for part in pair] if airy else parts
        if board.notices:
            lines.append(self._notices(_NOTICES_SHOWN if airy else _NOTICES_SHOWN_LOW))
        elif airy:
            lines.pop()
        return Panel(Group(*lines), box=box.ROUNDED, border_style="dim", padding=(0, 1))

    def _header(self) -> RenderableType:
        board = self.board
        if not board.up or board.up_at is None:
            return Group(Text("EMS Streams", style="bold"), self._phase())
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column()
        grid.add_column(justify="right")
        title = Text.assemble(("EMS Streams", "bold"), f"  up since {board.up_at.astimezone():%H:%M:%S}")
        took = f"download {board.download_s or 0.0:.1f} s, start {board.start_s or 0.0:.1f} s"
        grid.add_row(title, Text(f"{took}   Ctrl-C stops", style="dim"))
        return grid

    def _phase(self) -> RenderableType:
        if self.board.over:
            return Text(self.board.phase)
        self._spinner.update(text=Text(self.board.phase, style="yellow"))
        return self._spinner

    def _download(self, done: int, total: int) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        grid.add_row(ProgressBar(total=total, completed=done, width=40), Text(f"{done} of {total} files"))
        return grid

    def _units(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, expand=True)
        for name, width in (("", 11), ("state", 12), ("port", 6), ("pid", 8), ("for", 9), ("restarts", 8)):
            table.add_column(name, justify="left" if name in {"", "state"} else "right", no_wrap=True, min_width=width)
        table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
        for unit in self.board.units:
            colour = _COLOURS[unit.state]
            table.add_row(
                Text(unit.name, style="bold" if not unit.embedded else ""),
                Text(f"{_MARKS[unit.state]} {unit.state}", style=colour),
                str(unit.port or ""),
                str(unit.pid or ""),
                age(unit.since),
                Text(str(unit.restarts), style="yellow" if unit.restarts else "dim"),
                Text(unit.detail if unit.state is not State.READY else "", style="dim", overflow="ellipsis"),
            )
        for server, address in self.board.plan.external.items():
            table.add_row(server, Text("external", style="cyan"), "", "", "", "", Text(address, style="dim"))
        return table

    def _traffic(self) -> Text:
        figures = self.board.figures()
        return Text.assemble(
            (f"{figures['telemetryPerS'] or 0:,.0f}", "bold"),
            " events/s on device-telemetry, ",
            (f"{figures['telemetryTotal'] or 0:,}", "bold"),
            " in all   ",
            (f"{figures['statusPerS'] or 0:,.1f}", "bold"),
            " changes/s on device-status, ",
            (f"{figures['transitions'] or 0:,}", "bold"),
            " since up",
        )

    def _places(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for what, where in self.board.places():
            grid.add_row(Text(what, style="dim"), Text(where, style="cyan" if where.startswith("http") else "", overflow="fold"))
        return grid

    def _notices(self, count: int) -> Group:
        lines = [
            Text.assemble(
                (f"{notice.at.astimezone():%H:%M:%S} ", "dim"),
                (f"{notice.unit} ", "bold"),
                (notice.text, _NOTICE_COLOURS.get(notice.kind, "")),
                overflow="ellipsis",
                no_wrap=True,
            )
            for notice in list(self.board.notices)[-count:]
        ]
        return Group(*lines)

"""What commands print: data on stdout as a table or as JSON, everything else on stderr; no colours unless people watch."""

import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width; lines are as long as they are, so that grep and cut see whole rows.
_PIPE_WIDTH = 10_000

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def console() -> "Console":
    """Rich console on stdout."""
    return _console(sys.stdout)


def error_console() -> "Console":
    """Rich console on stderr: for what is said beside the data."""
    return _console(sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout, indented."""
    import orjson

    _write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))


def print_json_line(value: Any) -> None:
    """One JSON document on one line, flushed at once: for output that goes on and on."""
    import orjson

    _write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> None:
    """A table on stdout; the columns named in `right` are aligned to the right. Cells are text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    target = console()
    table = Table(box=box.SIMPLE_HEAD if target.is_terminal else None, pad_edge=False, header_style="bold")
    aligned = set(right)
    for column in columns:
        table.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    with target.capture() as printed:
        target.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _console(stream: IO[str]) -> "Console":
    from rich.console import Console

    watched = stream.isatty()
    width = None if watched else _PIPE_WIDTH
    # A serial number such as `A:ab:1` is no emoji.
    return Console(file=stream, width=width, no_color=not watched, force_terminal=watched, highlight=False, emoji=False)


def _write(line: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()

"""`ems-streams topics tail`: records of a topic, for people and as JSON."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, print_json_line
from ems_streams.cli.times import past_of
from ems_streams.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ems_streams.domain.record_filter import RecordFilter
    from ems_streams.kafka.tail import TailRecord

# Statuses and severities as they stand in JSON; the names of groups are styles.
_STYLES = {
    "ONLINE|INFO|RECOVERED|CLEARED|COMPLETED": "green",
    "OFFLINE|CRITICAL|ERROR|FAILED|REJECTED": "bold red",
    "MAINTENANCE|WARNING|RAISED|EXPIRED": "yellow",
    "UNKNOWN|GAP": "dim",
}
_REASON = ("dlt-error-class", "dlt-error-message")
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tail)


def tail(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest record.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Start so long ago, such as 10m, or at an ISO-8601 time.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", "-n", metavar="N", min=1, help="Start with the newest N records that match.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="SERIAL", help="Only records of this device.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only records with this key.")] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="REGEX", help="Only records with this in their value or key.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help="Only records with such a field, also with != > >= < <=, and headers.NAME; may be repeated.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-f", help="Wait for more, or end with what is there.")] = True,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Stop after so many records.")] = None,
    json: JsonOption = False,
    values: Annotated[bool, typer.Option("--values", help="Print the values alone, as JSON, one a line: what `backfill` reads.")] = False,
) -> None:
    """Print records as they come, until Ctrl-C; those from now on, or those that are there too.

    What is in transactions is shown once they are committed. Of dead letters the reason comes first.
    """
    from ems_streams.kafka.tail import Start
    from ems_streams.kafka.tail import tail as read
    from ems_streams.settings import Settings

    if from_beginning and since is not None:
        raise UsageError("--from-beginning and --since: expected one of them")
    if json and values:
        raise UsageError("--json and --values: expected one of them")
    start = Start(from_beginning, None if since is None else past_of("--since", since, datetime.now(UTC)), last)
    if last is None and not follow and since is None:
        # Nothing else can be meant: from now on there is nothing.
        start = Start(beginning=True)
    wanted = _filter(device, key, grep, where or [])
    records = read(Settings.load(), topic, start, follow=follow, wanted=wanted.matches)
    try:
        _print_all(islice(records, limit), json=json, values=values)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _filter(device: str | None, key: str | None, grep: str | None, where: Iterable[str]) -> "RecordFilter":
    from ems_streams.domain.record_filter import RecordFilter, condition

    try:
        return RecordFilter(device, key, None if grep is None else re.compile(grep), [condition(each) for each in where])
    except re.error as error:
        raise UsageError(f"--grep {grep!r}: expected a regular expression: {error}") from None
    except MalformedError as error:
        raise UsageError(f"--where {error.detail}") from None


def _print_all(records: "Iterator[TailRecord]", *, json: bool, values: bool) -> None:
    target = console()
    for record in records:
        if values:
            print_json_line(_json_value(record.value))
        elif json:
            print_json_line(_as_json(record))
        else:
            _print(target, record)


def _as_json(record: "TailRecord") -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": _time(record),
        "key": _json_value(record.key),
        "headers": {name: _json_value(value) for name, value in record.headers.items()},
        "value": _json_value(record.value),
    }


def _json_value(value: Any) -> Any:
    import base64

    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _time(record: "TailRecord") -> str | None:
    return None if record.timestamp is None else record.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print(target: "Console", record: "TailRecord") -> None:
    from rich.text import Text

    reason = ": ".join(_plain(record.headers[name]) for name in _REASON if name in record.headers)
    rest = [(name, value) for name, value in record.headers.items() if name not in _REASON]
    line = Text.assemble(
        (_time(record) or "-", "dim"),
        (f" {record.partition}:{record.offset} ", "dim"),
        (_plain(record.key), "bold cyan"),
        Text(f" {reason}", style="bold red") if reason else "",
        *(Text(f" {name.removeprefix('dlt-') if reason else name}={_plain(value)}", style="yellow") for name, value in rest),
        " ",
        _coloured(record.value),
    )
    target.print(line, soft_wrap=True)


def _plain(value: Any) -> str:
    """As it is, unless a terminal would do something about it."""
    if value is None:
        return "-"
    return value if isinstance(value, str) and value.isprintable() else repr(value)


def _coloured(value: Any) -> "Text":
    import orjson
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    if value is None:
        return Text("(deleted)", style="dim")
    if isinstance(value, bytes | str):
        return Text(repr(value))
    text = JSONHighlighter()(Text(orjson.dumps(value).decode()))
    for words, style in _STYLES.items():
        text.highlight_regex(rf'(?<=")(?:{words})(?=")', style)
    return text

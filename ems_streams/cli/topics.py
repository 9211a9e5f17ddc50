"""`ems-streams topics`: compare the cluster with the catalogue, bring it there, look into topics."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_json_line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from ems_streams.kafka.admin import TopicDescription
    from ems_streams.kafka.tail import TailRecord
    from ems_streams.kafka.topic_plan import TopicPlan

app = typer.Typer(help="Kafka topics: the catalogue, the cluster, and what is in them.", no_args_is_help=True, rich_markup_mode=None)

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")]


@app.command()
def plan(json: JsonOption = False) -> None:
    """Show where the cluster differs from the catalogue, and what `apply` would do; change nothing."""
    from ems_streams.kafka.admin import plan_topics
    from ems_streams.settings import Settings

    plans = asyncio.run(plan_topics(Settings.load()))
    if json:
        print_json([_plan_json(each) for each in plans])
        return
    _print_plans(plans, {"create": "to be created", "alter": "to be altered", "refuse": "not as wanted"})


@app.command()
def apply(json: JsonOption = False) -> None:
    """Create missing topics and alter their configuration; delete nothing. Exit 1 when differences remain."""
    from ems_streams.kafka.admin import apply_topics
    from ems_streams.settings import Settings

    plans = asyncio.run(apply_topics(Settings.load()))
    if json:
        print_json([_plan_json(each) for each in plans])
    else:
        _print_plans(plans, {"create": "created", "alter": "altered", "refuse": "not as wanted"})
    if any(each.refusals for each in plans):
        raise typer.Exit(1)


@app.command(name="list")
def list_(json: JsonOption = False) -> None:
    """List the topics of the cluster."""
    from ems_streams.kafka.admin import list_topics
    from ems_streams.settings import Settings

    topics = asyncio.run(list_topics(Settings.load()))
    if json:
        print_json([_description_json(each) for each in topics])
        return
    rows = [
        (each.name, len(each.partitions), each.records, each.topic.purpose if each.topic else "not in the catalogue") for each in topics
    ]
    print_table(("TOPIC", "PARTITIONS", "RECORDS", "PURPOSE"), rows, right=("PARTITIONS", "RECORDS"))


@app.command()
def describe(topic: TopicArgument, json: JsonOption = False) -> None:
    """Show a topic's partitions, offsets, replicas and configuration."""
    from ems_streams.kafka.admin import describe as describe_topic
    from ems_streams.settings import Settings

    description = asyncio.run(describe_topic(Settings.load(), topic))
    if json:
        print_json(_description_json(description))
        return
    entry = description.topic
    target = console()
    target.print(f"{description.name}: {entry.purpose if entry else 'not in the catalogue'}", markup=False)
    target.print(f"key: {entry.key if entry else 'unknown'}", markup=False)
    for setting, value in sorted(description.overrides.items()):
        target.print(f"{setting}={value}", markup=False)
    print_table(
        ("PARTITION", "LEADER", "REPLICAS", "IN SYNC", "FIRST", "NEXT"),
        [
            (each.partition, each.leader, _numbers(each.replicas), _numbers(each.in_sync), each.begin_offset, each.end_offset)
            for each in description.partitions
        ],
        right=("PARTITION", "LEADER", "FIRST", "NEXT"),
    )


@app.command()
def tail(
    topic: TopicArgument,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest record.")] = False,
    device: Annotated[str | None, typer.Option("--device", metavar="SERIAL", help="Only records of this device.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many records.")] = None,
    json: JsonOption = False,
) -> None:
    """Print records as they come, until Ctrl-C."""
    from ems_streams.kafka.tail import tail as read
    from ems_streams.settings import Settings

    records = read(Settings.load(), topic, from_beginning=from_beginning)
    show = _print_record_json if json else _print_record
    try:
        for record in islice(_of_device(records, device), limit):
            show(record)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _of_device(records: "Iterator[TailRecord | None]", device: str | None) -> "Iterator[TailRecord]":
    return (record for record in records if record is not None and (device is None or record.concerns(device)))


def _print_plans(plans: "Sequence[TopicPlan]", words: dict[str, str]) -> None:
    rows: list[tuple[object, ...]] = []
    for each in plans:
        if each.action == "create":
            wanted = ", ".join(f"{name}={value}" for name, value in each.topic.config.items())
            rows.append((each.name, words["create"], f"partitions={each.topic.partitions}, {wanted}"))
        for difference in each.differences:
            word = words["alter"] if difference.refusal is None else words["refuse"]
            change = f"{difference.setting}: {difference.current} -> {difference.wanted}"
            rows.append((each.name, word, change if difference.refusal is None else f"{change} ({difference.refusal})"))
    if rows:
        print_table(("TOPIC", "ACTION", "WHAT"), rows)
    counts = Counter(words.get(each.action, "as the catalogue wants them") for each in plans)
    error_console().print("topics: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())), markup=False)


def _plan_json(each: "TopicPlan") -> dict[str, Any]:
    return {
        "topic": each.name,
        "action": each.action,
        "partitions": each.topic.partitions,
        "config": each.topic.config,
        "differences": [
            {"setting": item.setting, "current": item.current, "wanted": item.wanted, "refusal": item.refusal} for item in each.differences
        ],
    }


def _description_json(each: "TopicDescription") -> dict[str, Any]:
    return {
        "topic": each.name,
        "key": each.topic.key if each.topic else None,
        "purpose": each.topic.purpose if each.topic else None,
        "inCatalogue": each.topic is not None,
        "records": each.records,
        "config": dict(each.overrides),
        "partitions": [
            {
                "partition": item.partition,
                "leader": item.leader,
                "replicas": item.replicas,
                "inSync": item.in_sync,
                "beginOffset": item.begin_offset,
                "endOffset": item.end_offset,
            }
            for item in each.partitions
        ],
    }


def _numbers(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _print_record_json(record: "TailRecord") -> None:
    print_json_line(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": _time(record),
            "key": _as_json(record.key),
            "headers": {name: _as_json(value) for name, value in record.headers.items()},
            "value": _as_json(record.value),
        }
    )


def _as_json(value: Any) -> Any:
    import base64

    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _time(record: "TailRecord") -> str | None:
    return None if record.timestamp is None else record.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_record(record: "TailRecord") -> None:
    from rich.text import Text

    line = Text.assemble(
        (_time(record) or "-", "dim"),
        (f" {record.partition}:{record.offset} ", "dim"),
        (_plain(record.key), "bold cyan"),
        *(Text(f" {name}={_plain(value)}", style="yellow") for name, value in record.headers.items()),
        " ",
        _coloured(record.value),
    )
    console().print(line, soft_wrap=True)


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)


def _coloured(value: Any) -> "Text":
    import orjson
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    if value is None:
        return Text("(deleted)", style="dim")
    if isinstance(value, bytes):
        return Text(repr(value))
    return JSONHighlighter()(Text(orjson.dumps(value).decode()))

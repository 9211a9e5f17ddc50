"""`ems-streams topics`: compare the cluster with the catalogue, bring it there, describe topics; `tail` is in `topics_tail`."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli import topics_tail
from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_table

if TYPE_CHECKING:
    from ems_streams.kafka.admin import TopicDescription
    from ems_streams.kafka.topic_plan import TopicPlan, UnknownTopic
    from ems_streams.settings import Settings

app = typer.Typer(help="Kafka topics: the catalogue, the cluster, and what is in them.", no_args_is_help=True, rich_markup_mode=None)

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")]


AllowRecordLoss = Annotated[
    bool, typer.Option("--allow-record-loss", help="Also settings by which Kafka deletes records, such as a shorter retention.")
]


@app.command()
def plan(
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when anything differs.")] = False,
    allow_record_loss: AllowRecordLoss = False,
    json: JsonOption = False,
) -> None:
    """Show where the cluster differs from the catalogue, and what `apply` would do; change nothing."""
    from ems_streams.kafka.admin import find_unknown_topics, plan_topics
    from ems_streams.settings import Settings

    async def look(settings: Settings) -> "tuple[list[TopicPlan], list[UnknownTopic]]":
        plans, unknown = await asyncio.gather(plan_topics(settings, allow_record_loss=allow_record_loss), find_unknown_topics(settings))
        return plans, unknown

    settings = Settings.load()
    plans, unknown = asyncio.run(look(settings))
    if json:
        print_json([*map(_plan_json, plans), *map(_unknown_json, unknown)])
    else:
        _print_plans(plans, {"create": "to be created", "alter": "to be altered", "refuse": "not as wanted"}, unknown)
        _say_partitions(plans, settings)
    if check and any(each.action != "none" for each in plans):
        raise typer.Exit(1)


@app.command()
def apply(allow_record_loss: AllowRecordLoss = False, json: JsonOption = False) -> None:
    """Create missing topics and alter their configuration. Exit 1 when differences remain.

    Deletes no topic, changes the partitions of none, and alters nothing by which records would be deleted, unless --allow-record-loss.
    """
    from ems_streams.kafka.admin import apply_topics
    from ems_streams.settings import Settings

    settings = Settings.load()
    plans = asyncio.run(apply_topics(settings, allow_record_loss=allow_record_loss))
    if json:
        print_json([_plan_json(each) for each in plans])
    else:
        _print_plans(plans, {"create": "created", "alter": "altered", "refuse": "not as wanted"})
        _say_partitions(plans, settings)
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


topics_tail.register(app)


def _print_plans(plans: "Sequence[TopicPlan]", words: dict[str, str], unknown: "Sequence[UnknownTopic]" = ()) -> None:
    rows: list[tuple[object, ...]] = []
    for each in plans:
        if each.action == "create":
            wanted = ", ".join(f"{name}={value}" for name, value in each.topic.config.items())
            rows.append((each.name, words["create"], f"partitions={each.topic.partitions}, {wanted}"))
        for difference in each.differences:
            word = words["alter"] if difference.refusal is None else words["refuse"]
            change = f"{difference.setting}: {difference.current} -> {difference.wanted}"
            rows.append((each.name, word, change if difference.refusal is None else f"{change} ({difference.refusal})"))
    rows += [(each.name, "unknown", each.why) for each in unknown]
    if rows:
        print_table(("TOPIC", "ACTION", "WHAT"), rows)
    counts = Counter(words.get(each.action, "as the catalogue wants them") for each in plans)
    error_console().print("topics: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())), markup=False)


def _say_partitions(plans: "Sequence[TopicPlan]", settings: "Settings") -> None:
    """When every topic has the same other number of partitions, it is the setting that is wrong."""
    from ems_streams.kafka.topic_plan import common_partitions

    count = common_partitions(plans)
    if count not in {None, settings.partitions}:
        said = f"the topics have {count} partitions, EMS_PARTITIONS is {settings.partitions}: EMS_PARTITIONS={count} is what this cluster needs"
        error_console().print(said, markup=False)


def _unknown_json(each: "UnknownTopic") -> dict[str, Any]:
    return {"topic": each.name, "action": "unknown", "why": each.why}


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

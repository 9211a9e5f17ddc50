"""topics.md: every topic, from `ems_streams/kafka/catalogue.py`, and what processes write into headers."""

from collections.abc import Iterable

from ems_streams.kafka.catalogue import DAY_MS, DLT_SUFFIX, Catalogue, Topic, dlt_of
from ems_streams.settings import Settings

INTRODUCTION = """\
# Topics

Made from `ems_streams/kafka/catalogue.py`. `ems-streams topics plan` compares a cluster with it, `topics apply` [brings it there](../howto/topics.md), and
`topics tail` reads them. A partition count of *n* is `EMS_PARTITIONS`; a compacted topic keeps the last record of each key.

"""
_SMALLEST_PARTITIONS = 2


def page() -> str:
    """All topics in Markdown, for the default application id."""
    application_id = str(Settings.model_fields["application_id"].default)
    catalogue = Catalogue(application_id, _SMALLEST_PARTITIONS)
    letters = [topic for topic in catalogue if topic.name.endswith(DLT_SUFFIX)]
    own = [topic for topic in catalogue if topic.name.startswith(f"{application_id}-")]
    events = [topic for topic in catalogue if topic not in letters and topic not in own]
    return "".join(
        (
            INTRODUCTION,
            _table(events, (dlt_of(topic.name) in catalogue for topic in events)),
            f"\n## Dead letters\n\nOf each topic with a tick above, `TOPIC{DLT_SUFFIX}`: {_config(letters[0])}.\n",
            "What stands in their headers is in [How to deal with dead letters](../howto/dead-letters.md).\n",
            f"\n## Of the workers and notifiers\n\nNamed after `EMS_APPLICATION_ID`, here its default, `{application_id}`.\n\n",
            _table(own, (False for _ in own)),
        )
    )


def _table(topics: list[Topic], with_letters: Iterable[bool]) -> str:
    head = "| topic | key | partitions | kept | dead letters | what |\n|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{topic.name}` | {topic.key} | {'*n*' if topic.partitions == _SMALLEST_PARTITIONS else topic.partitions} "
        f"| {_config(topic)} | {'✓' if letters else ''} | {topic.purpose} |\n"
        for topic, letters in zip(topics, with_letters, strict=True)
    )


def _config(topic: Topic) -> str:
    config = topic.config
    kept = [] if "compact" not in config["cleanup.policy"] else ["compacted"]
    if "retention.ms" in config:
        kept.append(f"{int(config['retention.ms']) // DAY_MS} d")
    more = [f"`{name}={value}`" for name, value in config.items() if name not in {"cleanup.policy", "retention.ms"}]
    return ", ".join(kept + more)

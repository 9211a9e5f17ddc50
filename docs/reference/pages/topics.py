"""topics.md: every topic, from `ems_streams/kafka/catalogue.py`, and what processes write into headers."""

from collections.abc import Iterable

from ems_streams.domain import dead_letter
from ems_streams.domain.promotions import PROMOTED_HEADER
from ems_streams.kafka.catalogue import (
    DAY_MS,
    DEVICE_AGGREGATES,
    DEVICE_NOTIFICATIONS,
    DEVICE_TELEMETRY,
    DEVICE_TELEMETRY_LATE,
    DLT_SUFFIX,
    QUARANTINE,
    Catalogue,
    Topic,
    dlt_of,
)
from ems_streams.settings import Settings
from ems_streams.tracing import TRACEPARENT

INTRODUCTION = """\
# Topics

Made from `ems_streams/kafka/catalogue.py`. `ems-streams topics plan` compares a cluster with it, `topics apply` [brings it there](../howto/topics.md), and
`topics tail` reads them. A partition count of *n* is `EMS_PARTITIONS`; a compacted topic keeps the last record of each key.

"""
_LETTERS = f"`TOPIC{DLT_SUFFIX}`"
_REDRIVEN = "what was redriven"
HEADERS = (
    (dead_letter.ORIGINAL_TOPIC, _LETTERS, "Kafka topic, or MQTT topic, that the record came from"),
    (dead_letter.ORIGINAL_PARTITION, _LETTERS, "its partition; -1 of what came over MQTT"),
    (dead_letter.ORIGINAL_OFFSET, _LETTERS, "its offset; -1 of what came over MQTT"),
    (dead_letter.ORIGINAL_TIMESTAMP, _LETTERS, "its time, or that of the receipt, in ms since 1970"),
    (dead_letter.ERROR_CLASS, _LETTERS, "why, for programs, such as `invalid_json`"),
    (dead_letter.ERROR_MESSAGE, _LETTERS, f"why, for people: at most {dead_letter.MAX_MESSAGE_CHARS} characters"),
    (dead_letter.STAGE, _LETTERS, "what gave up, such as `ingress` or an agent"),
    (dead_letter.ATTEMPTS, _LETTERS, "how often it was tried"),
    (dead_letter.FIRST_FAILED_AT, _LETTERS, "when it failed first"),
    (dead_letter.REPLAY_COUNT, f"{_LETTERS}, {_REDRIVEN}", "how often it was redriven"),
    (
        dead_letter.PAYLOAD_SIZE,
        _LETTERS,
        f"size in bytes, of a value over {dead_letter.MAX_KEPT_BYTES // 2**20} MiB of which only the beginning was kept",
    ),
    (dead_letter.PAYLOAD_SHA256, _LETTERS, "SHA-256 in hex, of such a value"),
    (dead_letter.CHANNEL, f"`{dlt_of(DEVICE_NOTIFICATIONS)}`", "channel that could not deliver it"),
    (dead_letter.REDRIVE_ID, _REDRIVEN, "by which redrive"),
    (dead_letter.REDRIVEN_FROM, _REDRIVEN, "id of the letter"),
    (dead_letter.LETTER, f"`{QUARANTINE}`", "id of the letter that it was"),
    *(
        (f"late-original-{what}", f"`{DEVICE_TELEMETRY_LATE}`", f"{what} of the record on `{DEVICE_TELEMETRY}`")
        for what in ("topic", "partition", "offset")
    ),
    ("late-watermark", f"`{DEVICE_TELEMETRY_LATE}`", "how far its device was by then"),
    (PROMOTED_HEADER, f"`{DEVICE_AGGREGATES}`", "replay that the window was promoted from"),
    (TRACEPARENT, "events", "the trace that one belongs to, if any ([traces](../howto/traces.md))"),
)
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
            "[How to deal with them](../howto/dead-letters.md).\n",
            f"\n## Of the workers and notifiers\n\nNamed after `EMS_APPLICATION_ID`, here its default, `{application_id}`.\n\n",
            _table(own, (False for _ in own)),
            "\n## Headers\n\nAs UTF-8 text.\n\n",
            "| header | on | what |\n|---|---|---|\n",
            *(f"| `{name}` | {where} | {what} |\n" for name, where, what in HEADERS),
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

"""The topics of one replay; made when it is defined, removed when it is deleted, never made by who runs it."""

from ems_streams.kafka.catalogue import (
    CHANGELOG_MAX_MESSAGE_BYTES,
    DEVICE_AGGREGATES,
    DEVICE_AGGREGATES_TABLE,
    SITE_PARTS,
    Key,
    Topic,
    changelog_of,
)

_FOR_EVER_MS = -1


def replay_application_id(application_id: str, name: str) -> str:
    """Application id under which a replay runs: prefix of all its topics and of its transactions."""
    return f"{application_id}-replay-{name}"


def shadow_topic(application_id: str, name: str) -> str:
    """Where a replay publishes windows of devices."""
    return f"{replay_application_id(application_id, name)}-{DEVICE_AGGREGATES}"


def shadow_parts_topic(application_id: str, name: str) -> str:
    """Where a replay publishes the same windows in mergeable form, in the partitions of their devices; what promotion reads."""
    return f"{replay_application_id(application_id, name)}-{SITE_PARTS}"


def backfill_topic(application_id: str, name: str) -> str:
    """Where telemetry for this replay alone is put."""
    return f"{replay_application_id(application_id, name)}-backfill"


def topics_of(application_id: str, name: str, partitions: int) -> list[Topic]:
    """All topics of a replay."""
    changelog = changelog_of(replay_application_id(application_id, name), DEVICE_AGGREGATES_TABLE)
    kept = (
        (shadow_topic(application_id, name), f"windows of the replay {name}"),
        (shadow_parts_topic(application_id, name), f"windows of the replay {name}, in mergeable form"),
        (backfill_topic(application_id, name), f"telemetry for the replay {name} alone"),
    )
    return [
        *(Topic(topic, Key.SERIAL_NUMBER, partitions, purpose, retention_ms=_FOR_EVER_MS) for topic, purpose in kept),
        Topic(
            changelog,
            Key.SERIAL_NUMBER,
            partitions,
            f"changelog of the replay {name}",
            compacted=True,
            extra_config={"max.message.bytes": str(CHANGELOG_MAX_MESSAGE_BYTES)},
        ),
    ]

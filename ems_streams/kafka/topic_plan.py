"""What it takes to bring the topics of a cluster to the catalogue; pure comparison, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ems_streams.kafka.catalogue import DAY_MS, Catalogue, Key, Topic

CLEANUP: Final = "cleanup.policy"
COMPRESSION: Final = "compression.type"
AS_PRODUCED: Final = "producer"
HOW_TO_REPARTITION: Final = "docs/howto/topics.md#more-partitions"


class Action(StrEnum):
    """What `topics apply` does about one topic."""

    NONE = "none"
    CREATE = "create"
    ALTER = "alter"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it; `config` holds effective values, `replication` is that of its least replicated partition."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a topic that is not as the catalogue wants it.

    Attributes:
        setting: `partitions`, `replication` or a name of Kafka's topic configuration.
        current: As the cluster has it; `None` when it has none.
        wanted: As the catalogue wants it.
        refusal: Why `apply` will not change it, and what to do instead; `None` when it will.
    """

    setting: str
    current: str | None
    wanted: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What `apply` does, or did, about one topic.

    `REFUSE` means that nothing of it can be applied; an `ALTER` can still carry single refusals.
    """

    topic: Topic
    action: Action
    differences: tuple[Difference, ...] = ()

    @property
    def name(self) -> str:
        """Kafka topic name."""
        return self.topic.name

    @property
    def changes(self) -> tuple[Difference, ...]:
        """What `apply` changes on a topic that exists."""
        return tuple(difference for difference in self.differences if difference.refusal is None)

    @property
    def refusals(self) -> tuple[Difference, ...]:
        """What stays different even after `apply`."""
        return tuple(difference for difference in self.differences if difference.refusal is not None)


@dataclass(frozen=True, slots=True)
class UnknownTopic:
    """A topic that by its name is ours, and that the catalogue does not have; `apply` leaves it alone."""

    name: str
    why: str


def plan(
    topics: Iterable[Topic], states: Mapping[str, TopicState], replication_factor: int, *, allow_record_loss: bool = False
) -> list[TopicPlan]:
    """Compare each topic of the catalogue with the cluster; topics outside the catalogue are not looked at.

    Never asks for a deletion, nor for a new partition count: keys would move to other partitions, away from their state and out of
    their order, and what every partition has would be missing in new ones. Nor for a setting by which Kafka would delete records that
    it keeps now, unless `allow_record_loss`.
    """
    return [_plan_topic(topic, states.get(topic.name), replication_factor, allow_record_loss) for topic in topics]


def common_partitions(plans: Iterable[TopicPlan]) -> int | None:
    """How many partitions all topics have that there are and that go by `EMS_PARTITIONS`; None when they have not all the same."""
    there = [each for each in plans if each.action is not Action.CREATE and each.topic.key is not Key.NONE]
    counts = {
        next((int(item.current or 0) for item in each.refusals if item.setting == "partitions"), each.topic.partitions) for each in there
    }
    return counts.pop() if len(counts) == 1 else None


def unknown_topics(names: Iterable[str], catalogue: Catalogue) -> list[UnknownTopic]:
    """Topics of the cluster that begin like ours and are none of the catalogue, in the order of their names."""
    prefix = f"{catalogue.application_id}-"
    beginnings = tuple(f"{topic.name}-" for topic in catalogue)
    found = []
    for name in sorted(names):
        if name in catalogue:
            continue
        if name.startswith(f"{prefix}replay-"):
            found.append(
                UnknownTopic(name, "of a replay; `ems-streams replay list` shows those that there are, `replay delete` removes one")
            )
        elif name.startswith(prefix):
            found.append(UnknownTopic(name, "begins with the application id, but this release has no such topic: nothing of it is read"))
        elif name.startswith(beginnings):
            found.append(UnknownTopic(name, "begins like one of ours, but this release has no such topic: nothing of it is read"))
    return found


def _plan_topic(topic: Topic, state: TopicState | None, replication_factor: int, allow_record_loss: bool) -> TopicPlan:
    if state is None:
        return TopicPlan(topic, Action.CREATE)
    differences = (
        *_compare_partitions(topic, state),
        *_compare_replication(state, replication_factor),
        *_compare_config(topic, state, allow_record_loss),
        *_compare_compression(state),
    )
    if not differences:
        return TopicPlan(topic, Action.NONE)
    refused = all(difference.refusal is not None for difference in differences)
    return TopicPlan(topic, Action.REFUSE if refused else Action.ALTER, differences)


def _compare_partitions(topic: Topic, state: TopicState) -> Iterable[Difference]:
    if state.partitions == topic.partitions:
        return
    remedy = f"set EMS_PARTITIONS={state.partitions}, or start with new topics ({HOW_TO_REPARTITION})"
    if topic.key is Key.NONE:
        refusal = "Kafka cannot remove partitions; delete and create the topic while nothing uses it"
    elif topic.key is Key.ALL_PARTITIONS:
        refusal = f"each record is in every partition: new ones would not have those that there are; {remedy}"
    else:
        refusal = f"keyed by {topic.key}: another partition count would move keys away from their state; {remedy}"
    yield Difference("partitions", str(state.partitions), str(topic.partitions), refusal)


def _compare_replication(state: TopicState, wanted: int) -> Iterable[Difference]:
    # More replicas than asked for are as good; fewer are less safe than the operator believes.
    if state.replication < wanted:
        refusal = "replicas move only by a reassignment: use Kafka's kafka-reassign-partitions"
        yield Difference("replication", str(state.replication), str(wanted), refusal)


def _compare_config(topic: Topic, state: TopicState, allow_record_loss: bool) -> Iterable[Difference]:
    for setting, wanted in topic.config.items():
        current = state.config.get(setting)
        if current is None or _normalised(setting, current) != _normalised(setting, wanted):
            lost = None if current is None or allow_record_loss else _records_lost(setting, current, wanted)
            refusal = None if lost is None else f"Kafka would delete {lost}; `topics apply --allow-record-loss` does it all the same"
            yield Difference(setting, current, wanted, refusal)


def _compare_compression(state: TopicState) -> Iterable[Difference]:
    # Producers say how records are compressed, gzip for telemetry; a broker that is told otherwise packs every batch again.
    current = state.config.get(COMPRESSION, AS_PRODUCED)
    if current != AS_PRODUCED:
        yield Difference(COMPRESSION, current, AS_PRODUCED)


def _records_lost(setting: str, current: str, wanted: str) -> str | None:
    """Records that Kafka keeps now and would delete; None when there are none."""
    # With "compact,delete" Kafka does already what is wanted, and more.
    if setting == CLEANUP and cleanups(current) == {"compact"} and "compact" not in cleanups(wanted):
        return "the last record of each key, which is all that it keeps now, after a time"
    if setting == "retention.ms":
        current_ms, wanted_ms = (int(text) if text.lstrip("-").isdigit() else 0 for text in (current, wanted))
        if wanted_ms >= 0 and (current_ms < 0 or current_ms > wanted_ms):
            return f"all that is older than {wanted_ms / DAY_MS:g} days"
    return None


def cleanups(cleanup_policy: str) -> set[str]:
    """How Kafka removes records: `delete` those that are too old, `compact` those that are not the last of their key."""
    return {part.strip() for part in cleanup_policy.split(",")}


def _normalised(setting: str, value: str) -> str:
    return ",".join(sorted(cleanups(value))) if setting == CLEANUP else value

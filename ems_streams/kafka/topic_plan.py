"""What it takes to bring the topics of a cluster to the catalogue; pure comparison, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ems_streams.kafka.catalogue import Key, Topic


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


def plan(topics: Iterable[Topic], states: Mapping[str, TopicState], replication_factor: int) -> list[TopicPlan]:
    """Compare each topic of the catalogue with the cluster; topics outside the catalogue are not looked at.

    Never asks for a deletion, nor for a new partition count of a topic that has keys: its keys would move to other
    partitions, away from their state and out of their order.
    """
    return [_plan_topic(topic, states.get(topic.name), replication_factor) for topic in topics]


def _plan_topic(topic: Topic, state: TopicState | None, replication_factor: int) -> TopicPlan:
    if state is None:
        return TopicPlan(topic, Action.CREATE)
    differences = (
        *_compare_partitions(topic, state),
        *_compare_replication(state, replication_factor),
        *_compare_config(topic, state),
    )
    if not differences:
        return TopicPlan(topic, Action.NONE)
    refused = all(difference.refusal is not None for difference in differences)
    return TopicPlan(topic, Action.REFUSE if refused else Action.ALTER, differences)


def _compare_partitions(topic: Topic, state: TopicState) -> Iterable[Difference]:
    if state.partitions == topic.partitions:
        return
    refusal = None
    if topic.key is not Key.NONE:
        refusal = (
            f"keyed by {topic.key}: another partition count would move keys away from their state; "
            f"set EMS_PARTITIONS={state.partitions}, or start with new topics"
        )
    elif state.partitions > topic.partitions:
        refusal = "Kafka cannot remove partitions; delete and create the topic while nothing uses it"
    yield Difference("partitions", str(state.partitions), str(topic.partitions), refusal)


def _compare_replication(state: TopicState, wanted: int) -> Iterable[Difference]:
    # More replicas than asked for are as good; fewer are less safe than the operator believes.
    if state.replication < wanted:
        refusal = "replicas move only by a reassignment: use Kafka's kafka-reassign-partitions"
        yield Difference("replication", str(state.replication), str(wanted), refusal)


def _compare_config(topic: Topic, state: TopicState) -> Iterable[Difference]:
    for setting, wanted in topic.config.items():
        current = state.config.get(setting)
        if current is None or _normalised(setting, current) != _normalised(setting, wanted):
            yield Difference(setting, current, wanted)


def _normalised(setting: str, value: str) -> str:
    if setting == "cleanup.policy":
        return ",".join(sorted(part.strip() for part in value.split(",")))
    return value

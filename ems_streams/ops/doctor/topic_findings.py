"""What is wrong with topics: the plan of `topics apply` and the cluster's metadata, as findings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ems_streams.kafka.topic_plan import CLEANUP, Action, Difference, TopicPlan, UnknownTopic, cleanups, common_partitions
from ems_streams.ops.doctor.findings import Finding, finding, some

MIN_IN_SYNC = "min.insync.replicas"


def plan_findings(plans: Sequence[TopicPlan], unknown: Sequence[UnknownTopic], partitions: int) -> Iterator[Finding]:
    """Differences between catalogue and cluster; one finding for all topics with the same trouble."""
    missing = [each.name for each in plans if each.action is Action.CREATE]
    if missing:
        found = f"{len(missing)} missing: {some(missing)}"
        yield finding("topics-missing", "topics of the catalogue do not exist", found=found, expected=f"all {len(plans)} topics")
    yield from _partitions(plans, partitions)
    yield from _settings(plans)
    fewer = [(each.name, item) for each in plans for item in each.refusals if item.setting == "replication"]
    if fewer:
        found = f"{len(fewer)} topics with {fewer[0][1].current} replicas: {some([name for name, _ in fewer])}"
        expected = f"EMS_REPLICATION_FACTOR={fewer[0][1].wanted}"
        yield finding("topic-replication", "topics have fewer replicas than is set", found=found, expected=expected)
    if unknown:
        yield finding(
            "topic-unknown",
            "topics begin like ours and are not in the catalogue",
            found=some([each.name for each in unknown]),
            expected="none",
        )


def _partitions(plans: Sequence[TopicPlan], partitions: int) -> Iterator[Finding]:
    by_count: dict[str, list[str]] = {}
    for each in plans:
        for item in each.refusals:
            if item.setting == "partitions":
                by_count.setdefault(item.current or "", []).append(each.name)
    common = str(common_partitions(plans))
    for count, names in sorted(by_count.items()):
        found = f"{len(names)} topics with {count} partitions: {some(names)}"
        if count == common:
            what = "topics have another number of partitions than is set"
            yield finding("topic-partitions", what, found=found, expected=f"EMS_PARTITIONS={partitions}", partitions=count)
        else:
            what = "topics have another number of partitions than others"
            yield finding("topic-partitions-mixed", what, found=found, expected="as `ems-streams topics plan` shows")


def _settings(plans: Sequence[TopicPlan]) -> Iterator[Finding]:
    alterable, keeping, losing = [], [], []
    for each in plans:
        for item in each.differences:
            said = f"{each.name}: {item.setting}={item.current} instead of {item.wanted}"
            if _loses_records(item):
                losing.append(said)
            elif item.refusal is None:
                alterable.append(said)
            elif item.setting not in {"partitions", "replication"}:
                keeping.append(said)
    if alterable:
        what = "topics are set up otherwise than the catalogue says"
        yield finding("topic-settings", what, found=some(alterable), expected="as `ems-streams topics plan` shows")
    if losing:
        what = "Kafka removes records that have to be kept"
        yield finding("topic-loses-records", what, found=some(losing), expected="as `ems-streams topics plan` shows")
    if keeping:
        what = "topics keep records for longer than the catalogue says"
        yield finding("topic-keeps-more", what, found=some(keeping), expected="as `ems-streams topics plan` shows")


def _loses_records(item: Difference) -> bool:
    """Whether Kafka removes by it, all the time, what the catalogue keeps: all but the last record of each key, or keys that nobody has written to for long."""
    return item.setting == CLEANUP and item.current is not None and bool(cleanups(item.current) - cleanups(item.wanted))


def replica_findings(topics: Mapping[str, Sequence[tuple[int, int, int, int]]], min_in_sync: Mapping[str, int]) -> Iterator[Finding]:
    """Partitions without a leader, or with replicas that are behind.

    Args:
        topics: Number, leader (-1 for none), replicas and replicas in sync of each partition, by topic.
        min_in_sync: `min.insync.replicas` by topic, as it is in effect.
    """
    offline = [f"{name}[{number}]" for name, parts in sorted(topics.items()) for number, leader, _, _ in parts if leader < 0]
    if offline:
        yield finding("topic-offline", "partitions have no leader", found=some(offline), expected="a leader for each partition")
    behind = [f"{name}[{number}]" for name, parts in sorted(topics.items()) for number, _, replicas, in_sync in parts if in_sync < replicas]
    if behind:
        yield finding("topic-replicas-behind", "replicas are not in sync", found=some(behind), expected="all replicas in sync")
    yield from _too_few_in_sync(topics, min_in_sync)


def _too_few_in_sync(topics: Mapping[str, Sequence[tuple[int, int, int, int]]], min_in_sync: Mapping[str, int]) -> Iterator[Finding]:
    blocked, excessive = [], []
    for name, wanted in sorted(min_in_sync.items()):
        for number, leader, replicas, in_sync in topics.get(name, ()):
            # Kafka 4 asks for no more than there are replicas; what came before refuses every write.
            if leader >= 0 and in_sync < min(wanted, replicas):
                blocked.append(f"{name}[{number}]: {in_sync} in sync, {MIN_IN_SYNC}={wanted}")
        if any(wanted > replicas for _, _, replicas, _ in topics.get(name, ())):
            excessive.append(name)
    if blocked:
        yield finding(
            "topic-not-writable",
            "Kafka takes no records for partitions with fewer replicas in sync than they must have",
            found=some(blocked),
            expected=f"{MIN_IN_SYNC} replicas in sync",
        )
    if excessive:
        replicas = min(replicas for _, _, replicas, _ in topics[excessive[0]])
        yield finding(
            "topic-min-in-sync",
            "topics want more replicas in sync than they have",
            found=f"{some(excessive)}: {MIN_IN_SYNC}={min_in_sync[excessive[0]]} with {replicas} replicas",
            expected=f"{MIN_IN_SYNC} of at most {replicas}",
            replicas=replicas,
        )


def right_findings(allowed: Mapping[str, Iterable[str] | None], wanted: Sequence[str]) -> Iterator[Finding]:
    """Operations that Kafka does not allow on topics; None where it does not say what it allows."""
    for operation in wanted:
        refused = [name for name, operations in sorted(allowed.items()) if operations is not None and operation not in set(operations)]
        if refused:
            yield finding(
                "rights-missing",
                f"Kafka does not allow to {operation} topics",
                found=f"not on {len(refused)} topics: {some(refused)}",
                expected=f"{operation} on each topic of the catalogue",
                operation=operation,
            )

"""What is wrong with consumer groups: who is in them, which partitions nobody has, and how far behind they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ems_streams.ops.doctor.findings import Finding, finding, some

BEHIND_S = 60.0
"""What a worker has not made durable yet is a few seconds old; a minute is more than that."""
_SETTLED = frozenset({"STABLE", "EMPTY", "DEAD", "UNKNOWN"})

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group as Kafka tells it.

    Attributes:
        group: Its name.
        state: Such as STABLE.
        members: Assigned partitions by member, under its client id and instance id.
        positions: Committed offsets.
        begins: First offset of each partition that the group reads.
        ends: Next offset of each.
        waiting_since_s: When the oldest record that is not read was written, in seconds since 1970, by partition; only where there is one.
    """

    group: str
    state: str
    members: Mapping[str, frozenset[Place]]
    positions: Mapping[Place, int] = field(default_factory=dict)
    begins: Mapping[Place, int] = field(default_factory=dict)
    ends: Mapping[Place, int] = field(default_factory=dict)
    waiting_since_s: Mapping[Place, float] = field(default_factory=dict)

    def lag(self) -> int:
        """Records that are written and not read, with the markers of transactions among them."""
        return sum(max(0, end - max(self.positions.get(place, 0), self.begins.get(place, 0))) for place, end in self.ends.items())

    def behind_s(self, now_s: float) -> float:
        """Age of the oldest record that is not read; 0 when all are."""
        return max((now_s - since_s for since_s in self.waiting_since_s.values()), default=0.0)


def member_findings(state: GroupState, nobody: str, partitions: Mapping[str, int]) -> Iterator[Finding]:
    """Whether the group has members, and they have all partitions.

    Args:
        state: The group.
        nobody: Kind of the finding that it has no members.
        partitions: Number of partitions of the topics that it reads.
    """
    if not state.members:
        yield finding(nobody, f"the group {state.group} has no members", found=f"{state.state.lower()}, 0 members", expected="at least one")
        return
    if state.state not in _SETTLED:
        yield finding("group-moving", f"the group {state.group} is dividing its partitions", found=state.state.lower(), expected="stable")
        return
    assigned = frozenset().union(*state.members.values())
    read = {topic for topic, _ in assigned}
    free = [f"{topic}[{number}]" for topic in sorted(read) for number in range(partitions.get(topic, 0)) if (topic, number) not in assigned]
    if free or not assigned:
        found = f"{len(state.members)} members; nobody has {some(free) or 'any partition'}"
        yield finding(
            "partitions-unassigned", f"partitions belong to nobody in {state.group}", found=found, expected="each partition at one member"
        )


def lag_findings(state: GroupState, now_s: float) -> Iterator[Finding]:
    """Whether it is behind by more than `BEHIND_S`, and whether records went before they were read."""
    lost = {place: state.begins[place] - position for place, position in state.positions.items() if position < state.begins.get(place, 0)}
    if lost:
        places = [f"{topic}[{number}]" for topic, number in sorted(lost)]
        found = f"about {sum(lost.values())} records of {some(places)}"
        yield finding("group-lost", f"records were deleted before {state.group} has read them", found=found, expected="none")
    behind_s = state.behind_s(now_s)
    if behind_s > BEHIND_S:
        topics = sorted({topic for topic, _ in state.waiting_since_s})
        found = f"{behind_s:.0f} s, {state.lag()} records of {some(topics)}"
        yield finding("group-behind", f"the group {state.group} is behind", found=found, expected=f"less than {BEHIND_S:.0f} s")

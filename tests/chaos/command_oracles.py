"""What must be true of commands in the end: what the system says of each, and what the devices have written down themselves."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from ems_streams.dev.simulator import read_command_log
from ems_streams.kafka.catalogue import DEVICE_COMMAND_EVENTS
from tests.chaos.command_load import CommandLoad
from tests.chaos.harness import System
from tests.chaos.oracles import Topic
from tests.chaos.results import Finding

Line = Mapping[str, Any]
FINAL_ANSWERS = frozenset({"COMPLETED", "FAILED", "REJECTED"})


@dataclass
class Deeds:
    """What the devices have written down about one command."""

    received: int = 0
    resent: int = 0
    executed: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)


def deeds_of(lines: Iterable[Line]) -> dict[str, Deeds]:
    """The devices' log by command."""
    deeds: dict[str, Deeds] = defaultdict(Deeds)
    for line in lines:
        if "commandId" not in line:
            continue
        each = deeds[line["commandId"]]
        match line["event"]:
            case "RECEIVED":
                each.received += 1
            case "RESENT":
                each.resent += 1
            case "EXECUTED":
                each.executed.append(line["result"])
            case "ANSWERED":
                each.answered.add(line["result"])
    return dict(deeds)


def untrue(last: Line | None, deeds: Deeds) -> str:
    """What is wrong with the last thing that is said of a command; nothing when it is true.

    The rule: what the device has said for good is what the system says. When it has said nothing for good, the command has expired or was cancelled,
    and `executed` is `no` only if the device has not carried it out; `unknown` is always true of these, and of nothing else.
    """
    if last is None or not last["final"]:
        return f"not at its end: {last and last['status']}"
    status, executed = last["status"], last["executed"]
    said = deeds.answered & FINAL_ANSWERS
    if said:
        return (
            ""
            if {status} == said and executed == ("yes" if status == "COMPLETED" else "no")
            else f"{status} ({executed}), but answered {said}"
        )
    if status not in {"EXPIRED", "CANCELLED"}:
        return f"{status}, but the device has never said so"
    if executed == "yes" or (executed == "no" and "COMPLETED" in deeds.executed):
        return f"{status} with executed={executed}, but the device's log has {deeds.executed}"
    return "" if status == "EXPIRED" or not deeds.received else "CANCELLED, but the device has received it"


def broken_life(events: Sequence[Line]) -> str:
    """What is wrong with the steps of a command, in the order of the topic; nothing when they number from 1 without gap and fit together."""
    if [each["sequence"] for each in events] != list(range(1, len(events) + 1)):
        return f"sequences {[each['sequence'] for each in events]}"
    if events[0]["status"] != "REQUESTED":
        return f"begins as {events[0]['status']}"
    for before, after in pairwise(events):
        if after.get("previousStatus") != before["status"]:
            return f"{after['sequence']}: from {after.get('previousStatus')} after {before['status']}"
    return ""


def untrue_ones(asked: Iterable[str], events: Mapping[str, Sequence[Line]], deeds: Mapping[str, Deeds]) -> dict[str, str]:
    """The commands of which something untrue is said, and what that is."""
    return {each: problem for each in asked if (problem := untrue(_last(events.get(each)), deeds.get(each, Deeds())))}


def held_up(events: Mapping[str, Sequence[Line]]) -> Counter[str]:
    """What the commands that expired unsent were waiting for when their time was over.

    `silent device`: the command before them was out, and was never answered. `slow answer`: it was out, and was answered in the end. `sending`: none
    was out, so worker, MQTT broker or courier had not sent the first in line.
    """
    counts: Counter[str] = Counter()
    out: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    for steps in events.values():
        begun = next((_time_of(each) for each in steps if each["status"] == "PUBLISHED"), None)
        if begun is not None:
            ended = next((_time_of(each) for each in steps if each["final"]), datetime.max.replace(tzinfo=UTC))
            out[steps[0]["serialNumber"]].append((begun, ended, steps[-1]["status"]))
    for steps in events.values():
        if steps[-1]["status"] == "EXPIRED" and steps[-1]["executed"] == "no":
            # Nothing is sent in the last second.
            over = _time_of(steps[-1]) - timedelta(seconds=2)
            before = [last for begun, ended, last in out[steps[0]["serialNumber"]] if begun <= over < ended]
            counts["sending" if not before else "silent device" if before[0] == "EXPIRED" else "slow answer"] += 1
    return counts


def _time_of(event: Line) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def published_once(asked: Iterable[str], seen: Mapping[str, int]) -> Finding:
    """Whether nothing was published twice, by who listened in: repetitions of the broker to the devices are not seen there."""
    asked = set(asked)
    twice = {each: count for each, count in seen.items() if count > 1}
    if twice:
        print(f"\npublished twice: {len(twice)}, such as {list(twice.items())[:5]}")
    return Finding({"published twice": 0}, {"published twice": len(twice)}, f"{len(asked & seen.keys())} seen to be published")


def judge(asked: Iterable[str], events: Mapping[str, Sequence[Line]], deeds: Mapping[str, Deeds], system_name: str = "") -> Finding:
    """Whether each command was executed at most once and ended in a true final state, and nothing else was executed."""
    asked = set(asked)
    twice = {each: deed.executed for each, deed in deeds.items() if len(deed.executed) > 1}
    wrong = untrue_ones(asked, events, deeds)
    lives = {each: problem for each, steps in events.items() if (problem := broken_life(steps))}
    strangers = (deeds.keys() | events.keys()) - asked
    for what, found in (("executed twice", twice), ("untrue", wrong), ("broken lives", lives)):
        if found:
            print(f"\n{system_name}: {what}: {len(found)}, such as {list(found.items())[:5]}")
    statuses = Counter(last["status"] for each in asked if (last := _last(events.get(each))) is not None)
    unknown = sum(1 for each in asked if (last := _last(events.get(each))) is not None and last["executed"] == "unknown")
    resent = sum(deed.resent for deed in deeds.values())
    return Finding(
        expected={"commands": len(asked), "executed twice": 0, "untrue": 0, "broken lives": 0, "strangers": 0},
        found={
            "commands": len(asked & events.keys()),
            "executed twice": len(twice),
            "untrue": len(wrong),
            "broken lives": len(lives),
            "strangers": len(strangers),
        },
        measured=f"{_shown(statuses)}, {unknown} of these unknown to us; {sum(len(d.executed) for d in deeds.values())} executions, "
        f"{resent} resent by the broker",
    )


def commands_in_the_end(system: System, load: CommandLoad, timeout_s: float) -> Finding:
    """Wait until every command is at its end and no late answer is missing, then judge, with what comes within some seconds after that."""
    topic = Topic(system, DEVICE_COMMAND_EVENTS)
    events: dict[str, list[Line]] = defaultdict(list)

    def all_true() -> bool:
        for record in topic.new_records():
            event = json.loads(record.value() or b"{}")
            events[event["commandId"]].append(event)
        return not untrue_ones(load.asked, events, deeds_of(read_command_log(load.fleet.log)))

    try:
        system.settled(all_true, timeout_s)
        system.run_for(3.0)
        all_true()
    finally:
        topic.close()
    print(f"\nexpired unsent, by what they waited for: {_shown(held_up(events))}", flush=True)
    return judge(load.asked, events, deeds_of(read_command_log(load.fleet.log)), system.name)


def _last(events: Sequence[Line] | None) -> Line | None:
    return events[-1] if events else None


def _shown(counts: Counter[str]) -> str:
    return " + ".join(f"{count} {what}" for what, count in counts.most_common()) or "none"

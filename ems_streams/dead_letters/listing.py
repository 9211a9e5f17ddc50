"""What people ask of dead letters: lists, groups, one in full."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ems_streams.dead_letters.groups import group_view, grouped
from ems_streams.dead_letters.planning import Plan, plan_of
from ems_streams.dead_letters.reader import NewestFirst, check_topic, counts, letter_at, ranges_of, topics_of
from ems_streams.dead_letters.state import read_state
from ems_streams.dead_letters.views import detail_view, summary_view
from ems_streams.domain.letter import LetterId
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.redrives import Outcome
from ems_streams.kafka.range_reader import positioned_consumer
from ems_streams.settings import Settings


async def list_letters(settings: Settings, topic: str, chosen: LetterFilter, limit: int, *, only_open: bool) -> list[dict[str, Any]]:
    """The newest letters that a filter chooses; reads back as far as it must. Raises `EmsError`."""
    check_topic(topic)
    done = (await read_state(settings)).done_of(topic)
    found: list[dict[str, Any]] = []
    async with positioned_consumer(settings) as consumer:
        letters = NewestFirst(consumer, topic, await ranges_of(consumer, topic, chosen.since_ms))
        while len(found) < limit and (letter := await letters.take()) is not None:
            known = done.of(letter)
            if chosen.matches(letter) and not (only_open and known is not None):
                found.append(summary_view(letter, known))
    return found


async def group_topics(
    settings: Settings,
    topic: str | None,
    grouping: Sequence[str],
    chosen: LetterFilter,
    limit: int,
    *,
    only_open: bool,
    on_progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Groups of one topic, or of all that have letters; the largest first. Raises `EmsError`."""
    if topic is not None:
        check_topic(topic)
    state = await read_state(settings)
    views: list[dict[str, Any]] = []
    async with positioned_consumer(settings) as consumer:
        topics = [topic] if topic is not None else await topics_of(consumer)
        sizes = await counts(consumer, topics)
        total, before = sum(sizes.values()), 0
        for name in (name for name in topics if sizes[name]):
            ranges = await ranges_of(consumer, name, chosen.since_ms)
            groups = await grouped(
                consumer,
                name,
                ranges,
                grouping,
                done=state.done_of(name),
                chosen=chosen,
                on_progress=partial(_add, before, total, on_progress),
            )
            before += sizes[name]
            on_progress(before, total)
            views += [{"topic": name, **group_view(each, grouping)} for each in groups.largest()[:limit] if each.open or not only_open]
    return sorted(views, key=lambda view: -view["open"])[:limit]


def _add(before: int, total: int, on_progress: Callable[[int, int], None], count: int) -> None:
    on_progress(before + count, total)


async def show_letter(settings: Settings, letter_id: LetterId) -> dict[str, Any]:
    """All of a letter, and what a redrive would do with it as it is; raises `NoSuchLetterError` and other `EmsError`."""
    check_topic(letter_id.topic)
    done = (await read_state(settings)).done_of(letter_id.topic)
    async with positioned_consumer(settings) as consumer:
        letter = await letter_at(consumer, letter_id)
    known = done.of(letter)
    verdict = await plan_of(settings, letter)
    return {
        **detail_view(letter, known),
        "redrive": {
            "outcome": verdict.outcome,
            "possible": verdict.outcome in {Outcome.SENT, Outcome.FAILED_AGAIN},
            "target": verdict.target,
            "reason": verdict.reason or None,
            "detail": verdict.detail or None,
        },
    }


def plan_view(topic: str, found: Plan) -> dict[str, Any]:
    """What a redrive would do, as JSON; letters only as many as there are examples of."""
    return {
        "topic": topic,
        "dryRun": True,
        "complete": found.complete,
        "outcomes": {outcome.value: found.outcomes.get(outcome, 0) for outcome in Outcome},
        "refusals": dict(sorted(found.reasons.items())),
        "stillMalformed": found.still_malformed,
        "letters": [
            {
                "id": str(letter_id),
                "outcome": verdict.outcome,
                "target": verdict.target,
                "reason": verdict.reason or None,
                "detail": verdict.detail or None,
            }
            for letter_id, verdict in found.examples
        ],
    }

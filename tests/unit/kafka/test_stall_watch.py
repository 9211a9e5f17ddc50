import asyncio
from collections.abc import Hashable, Mapping

import pytest

from ems_streams.domain.stall import Progress
from ems_streams.errors import StalledError
from ems_streams.kafka.stall_watch import StallWatch


class Scene:
    """What is observed, look by look; each look is a second after the one before. The last one is repeated."""

    def __init__(self, *looks: Mapping[Hashable, Progress]) -> None:
        self.looks = list(looks)
        self.now_s = 0.0
        self.watch = StallWatch(self.observe, 3.0, interval_s=0.0, clock=lambda: self.now_s)

    async def observe(self) -> Mapping[Hashable, Progress]:
        self.now_s += 1.0
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def run(self, until_s: float) -> None:
        task = asyncio.create_task(self.watch.run())
        while self.now_s < until_s and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


BEHIND = Progress(5, behind=True)


async def test_what_is_behind_and_does_not_move_ends_it_and_is_named_the_longest_first() -> None:
    scene = Scene({"a": BEHIND}, {"a": BEHIND, "b": BEHIND})

    with pytest.raises(StalledError, match=r"^no progress: a for 4 s, b for 3 s$"):
        await scene.run(100)

    assert scene.watch.stuck
    assert scene.watch.longest_s == 4.0


async def test_what_moves_or_is_at_its_end_may_take_for_ever() -> None:
    scene = Scene(*({"a": Progress(number, behind=True), "b": Progress(5, behind=False)} for number in range(100)))

    await scene.run(90)

    assert (scene.watch.stuck, scene.watch.longest_s, scene.watch.where) == (False, 0.0, "")


async def test_while_nothing_could_move_nothing_is_counted_and_counting_begins_anew() -> None:
    scene = Scene(*([{"a": BEHIND}] * 3), {}, *([{"a": BEHIND}] * 3), {}, {"a": BEHIND})

    await scene.run(9)

    assert scene.watch.longest_s < 3.0


async def test_a_watch_that_cannot_look_ends_with_the_reason() -> None:
    async def broken() -> Mapping[Hashable, Progress]:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        await StallWatch(broken, 3.0, interval_s=0.0).run()

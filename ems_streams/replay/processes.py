"""A replay shared by several processes of this machine: each runs some of its partitions, this one shows how far they are."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence

from ems_streams.errors import EmsError
from ems_streams.replay.registry import Replay
from ems_streams.replay.runner import OnProgress, Runner
from ems_streams.settings import Settings

_REPORT_INTERVAL_S = 0.25


def unfinished(replay: Replay) -> list[int]:
    """Partitions that have something left to be done."""
    return [each for each in sorted(replay.definition.offsets) if each not in replay.progress or not replay.progress[each].finished]


async def run(settings: Settings, replay: Replay, processes: int, on_progress: OnProgress) -> None:
    """Run what is left of a replay; raises `EmsError` when a part of it failed, and can be called again then."""
    left = unfinished(replay)
    done = replay.read - sum(replay.progress[each].read for each in left if each in replay.progress)
    if processes == 1 or len(left) < 2:
        await Runner(settings, replay.definition, left, lambda read: on_progress(done + read)).run()
        return
    shares = [left[first::processes] for first in range(min(processes, len(left)))]
    read = [0] * len(shares)

    def tell(index: int, offsets: int) -> None:
        read[index] = offsets
        on_progress(done + sum(read))

    tasks = [asyncio.create_task(_child(replay.definition.name, share, index, tell)) for index, share in enumerate(shares)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _child(name: str, partitions: Sequence[int], index: int, tell: Callable[[int, int], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ems_streams", "replay", "work", name, "--partitions", ",".join(map(str, partitions))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            tell(index, int(json.loads(line)["read"]))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code != 0:
        raise EmsError(
            f"replay {name}: the process of partitions {', '.join(map(str, partitions))} ended with exit code {code}; start it again"
        )


async def work(settings: Settings, replay: Replay, partitions: Sequence[int]) -> None:
    """As one of several processes: run these partitions, and say how far they are in lines of JSON; ends with the one that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    loop = asyncio.get_running_loop()
    told_s = 0.0
    latest = 0

    def say(read: int) -> None:
        nonlocal told_s, latest
        latest = read
        if loop.time() - told_s > _REPORT_INTERVAL_S:
            told_s = loop.time()
            print(json.dumps({"read": read}), flush=True)  # noqa: T201 - the pipe to the parent

    await Runner(settings, replay.definition, partitions, say).run()
    print(json.dumps({"read": latest}), flush=True)  # noqa: T201 - the pipe to the parent


def _end_with_parent() -> None:
    # Not through the buffered stream, whose lock would be held when the process ends by itself.
    os.read(0, 1)
    os._exit(1)

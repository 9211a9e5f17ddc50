"""Our command line with something put in, for tests: `-m tests.support.replay_programs WHAT ARGUMENTS...`."""

import sys
import time
from functools import partial
from typing import Any


def slowly() -> None:
    """Each fetch is small, folded after a pause, and committed: a kill finds the replay in the middle."""
    from ems_streams.kafka import range_reader
    from ems_streams.replay import runner

    fold_part = runner.fold_part

    def slow(*arguments: Any) -> None:
        # By the record: how many come at once is not for us to say.
        time.sleep(0.004 * len(arguments[1]))
        fold_part(*arguments)

    range_reader.FETCH_BYTES = 4096  # type: ignore[misc]
    runner.COMMIT_INTERVAL_S = 0.0  # type: ignore[misc]
    runner.fold_part = slow  # type: ignore[assignment]


def another_gap(max_gap_ms: int) -> None:
    """Power is integrated over so long at the most."""
    from ems_streams.domain.energy import DEFAULT_LIMITS

    object.__setattr__(DEFAULT_LIMITS, "max_gap_ms", max_gap_ms)


if __name__ == "__main__":
    programs = {"slowly": slowly, "gap-of-60-s": partial(another_gap, 60_000), "gap-of-59-s": partial(another_gap, 59_000)}
    programs[sys.argv.pop(1)]()
    from ems_streams.cli.main import run

    run()

"""`make test`: every test but the long chaos runs. Two runs of pytest side by side where there are two cores, since much of it is waiting.

Arguments go to both runs. The exit code is 0 when both passed.
"""

import os
import subprocess
import sys
import threading
from typing import IO

FIRST = (
    "tests/e2e",
    "tests/integration/dev",
    "tests/integration/gateway",
    "tests/integration/doctor",
    "tests/integration/kafka",
    "tests/integration/metrics",
    "tests/integration/replay",
    "tests/integration/rules",
    "tests/integration/sink",
    "tests/unit",
)
"""About a half of the time; whatever is not here belongs to the other half."""

PASSED = (0, 5)
"""Exit codes of pytest; 5 says that no test was chosen, as `-k` may do to one of the halves."""


def main() -> int:
    """Run both halves, and tell their lines apart."""
    pytest = [sys.executable, "-m", "pytest", "-m", "not chaos", *sys.argv[1:]]
    halves = [[*pytest, *FIRST], [*pytest, "-p", "no:cacheprovider", "tests", *(f"--ignore={path}" for path in FIRST)]]
    if (os.cpu_count() or 1) < 2:
        return max([subprocess.call(half) not in PASSED for half in halves])
    running = [subprocess.Popen(half, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for half in halves]
    threads = [threading.Thread(target=_copy, args=(f"[{number}]", each.stdout)) for number, each in enumerate(running, 1)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = [each.wait() for each in running]
    except KeyboardInterrupt:
        codes = [each.wait() for each in running]  # they have been interrupted, too
    for number, code in enumerate(codes, 1):
        print(f"[{number}] {'passed' if code in PASSED else f'FAILED with exit code {code}'}", flush=True)
    return max(code not in PASSED for code in codes)


def _copy(mark: str, output: IO[str] | None) -> None:
    assert output is not None
    for line in output:
        print(mark, line, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`make test`: every test but the long chaos runs. Three runs of pytest side by side where there are two cores, since much of it is waiting.

Arguments go to each run. The exit code is 0 when all passed.
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
WAITING = (
    "tests/e2e/test_silence.py",
    "tests/integration/containers",
    "tests/integration/docs",
    "tests/integration/explain",
    "tests/integration/notifier",
    "tests/integration/secure_servers",
    "tests/integration/security",
)
"""What waits for most of its time, so that it may run beside the others; about a third of these."""

PARTS = (FIRST, WAITING)
"""Whatever is in none of them is one more part, which takes as long as the first."""

PASSED = (0, 5)
"""Exit codes of pytest; 5 says that no test was chosen, as `-k` may do to one of the parts."""


def main() -> int:
    """Run all parts, and tell their lines apart."""
    runs = [[sys.executable, "-m", "pytest", "-m", "not chaos", *sys.argv[1:], *arguments] for arguments in parts()]
    if (os.cpu_count() or 1) < 2:
        return max([subprocess.call(run) not in PASSED for run in runs])
    running = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for run in runs]
    wrong: list[str] = []
    threads = [threading.Thread(target=_copy, args=(f"[{number}]", each.stdout, wrong)) for number, each in enumerate(running, 1)]
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
    # Once more and last, since the parts' own summaries may be thousands of lines further up.
    print("".join(wrong), end="", flush=True)
    return max(code not in PASSED for code in codes)


def parts() -> list[list[str]]:
    """Arguments of pytest for each part: together they are all tests, and each test is in one of them."""
    named = [path for part in PARTS for path in part]
    rest = ["-p", "no:cacheprovider", "tests", *(f"--ignore={path}" for path in named)]
    first, *others = [[*part, *(f"--ignore={path}" for path in named if any(path.startswith(f"{own}/") for own in part))] for part in PARTS]
    # One of them may write the cache.
    return [first, rest, *(["-p", "no:cacheprovider", *other] for other in others)]


def _copy(mark: str, output: IO[str] | None, wrong: list[str]) -> None:
    assert output is not None
    for line in output:
        print(mark, line, end="", flush=True)
        if says_what_is_wrong(line):
            wrong.append(f"{mark} {line}")


def says_what_is_wrong(line: str) -> bool:
    """Whether this line of pytest's output names a test that failed, or says what it missed."""
    return line.startswith(("FAILED ", "ERROR ", "E   "))


if __name__ == "__main__":
    sys.exit(main())

"""What benchmarks that end with one result have in common: a console, fresh logs, and a directory with `result.json` and `table.md`."""

import json
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from benchmarks.environments import default_directory

RESULTS = Path(__file__).parent / "results"


def begin(name: str, *, json_output: bool) -> tuple[Console, Path, Path]:
    """A console that leaves standard output to JSON, the directory of the cache, and an empty one in it for logs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    cache = default_directory()
    logs = cache / f"logs-{name}"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    return Console(stderr=json_output, width=None if sys.stdout.isatty() else 160), cache, logs


def end(name: str, result: dict[str, Any], table: Sequence[str], console: Console, *, json_output: bool) -> None:
    """Write the result and its table, and show it."""
    target = RESULTS / (datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ") + f"-{name}")
    target.mkdir(parents=True)
    (target / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    (target / "table.md").write_text("\n".join(table) + "\n")
    console.print(*table, sep="\n", markup=False, highlight=False)
    if json_output:
        sys.stdout.write(json.dumps(result) + "\n")
    console.print(f"written to {target}")

"""`make fuzz`: every target for a time each, guided by coverage where it can be; exit 1 when one of them crashed, 3 when nothing could be fed.

Requests and frames need servers: `http` and `websocket` are left out with `--no-servers`.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from tests.fuzz.gateways import running_gateway, troubles_of
from tests.fuzz.guided import Outcome, possible, run_guided
from tests.fuzz.remote import feed, frames, request

REMOTE: Final = {"http": request, "websocket": frames}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--only", action="append", metavar="NAME", help="only targets with this in their name; may be repeated")
    parser.add_argument("--no-servers", action="store_true", help="only what needs no servers")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    wanted = [name for name in _names() if not options.only or any(each in name for each in options.only)]
    if options.list:
        print("\n".join(wanted))
        return 0
    if not wanted:
        parser.error(f"--only {options.only}: no target has such a name; --list shows them")
    outcomes = list(_run(wanted, options.seconds, servers=not options.no_servers))
    if options.json:
        print(json.dumps([each.view() for each in outcomes], indent=2))
    else:
        _show(outcomes)
    if not outcomes:
        return 3
    return 1 if any(each.crashes for each in outcomes) else 0


def _names() -> list[str]:
    from tests.fuzz.all_targets import all_targets

    with tempfile.TemporaryDirectory() as directory:
        return [*all_targets(Path(directory)), *REMOTE]


def _run(names: Sequence[str], seconds: float, *, servers: bool) -> Iterator[Outcome]:
    said = Console(stderr=True, highlight=False)
    why_not = possible()
    if why_not:
        said.print(f"fuzz: SKIPPED, all that is guided by coverage: {why_not}")
    for number, name in enumerate(names, 1):
        if name in REMOTE or why_not:
            continue
        said.print(f"fuzz: {number} of {len(names)}: {name}")
        yield run_guided(name, seconds)
    remote = [name for name in names if name in REMOTE and servers]
    with running_gateway() if remote else contextlib.nullcontext() as gateway:
        for name in remote:
            assert gateway is not None
            said.print(f"fuzz: {name}")
            found = feed(gateway.port, REMOTE[name], seconds=seconds)
            detail = found.detail or troubles_of(gateway)
            yield Outcome(name, seconds, found.taken, found.refused, int(bool(detail)), None, detail)


def _show(outcomes: Sequence[Outcome]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    table = Table("TARGET", *[_right(name) for name in ("SECONDS", "INPUTS", "TAKEN", "REFUSED", "BRANCHES", "CRASHES")])
    for each in outcomes:
        counts = (
            each.seconds,
            each.taken + each.refused,
            each.taken,
            each.refused,
            "-" if each.covered is None else each.covered,
            each.crashes,
        )
        table.add_row(each.name, *map(str, counts))
    console.print(table)
    for each in outcomes:
        if each.detail:
            console.print(f"{each.name}:\n{each.detail}", markup=False)
    inputs = sum(each.taken + each.refused for each in outcomes)
    console.print(f"fuzz: {len(outcomes)} targets, {inputs} inputs, {sum(each.crashes for each in outcomes)} crashes")


def _right(name: str) -> Column:
    return Column(name, justify="right")


if __name__ == "__main__":
    sys.exit(main())

"""Feeds one target for a time, guided by coverage: `python -m tests.fuzz.one_target NAME --seconds N --directory DIR`.

Counts are kept in a file that another process reads, since libFuzzer ends the process without a word to Python.
"""

import argparse
import mmap
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

COUNTS: Final = struct.Struct("<QQ")
"""Inputs that were taken, and that were refused."""
COUNTS_FILE: Final = "counts"
LONGEST_INPUT: Final = 4096
GUIDES: Final = ("agents", "tables", "ems_streams.domain", "ems_streams.gateway.cursors", "ems_streams.rules", "ems_streams.yaml_files")
"""Packages whose branches tell which inputs are new; others only take time until it begins."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    import atheris

    # What is imported from here on tells which of its branches were taken.
    with atheris.instrument_imports(include=list(GUIDES), enable_loader_override=False):
        from tests.fuzz.all_targets import all_targets

    target = all_targets(Path(tempfile.mkdtemp(dir=options.directory)))[options.name]
    corpus = options.directory / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [
        sys.argv[0], str(corpus), f"-max_total_time={round(options.seconds)}", f"-max_len={max(LONGEST_INPUT, *map(len, target.seeds))}",
        f"-artifact_prefix={options.directory}/", "-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(arguments, _counting(target.takes, options.directory / COUNTS_FILE))
    atheris.Fuzz()


def _counting(takes: Callable[[bytes], bool], file: Path) -> Callable[[bytes], None]:
    file.write_bytes(bytes(COUNTS.size))
    with file.open("r+b") as opened:
        counts = mmap.mmap(opened.fileno(), COUNTS.size)
    found = [0, 0]

    def once(data: bytes) -> None:
        found[0 if takes(data) else 1] += 1
        COUNTS.pack_into(counts, 0, *found)

    return once


if __name__ == "__main__":
    main()

"""The commands that pages tell people to run, and running them: `ems-streams` in forks of one process, which is as if each were started alone."""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page, on one line, without what is said of it behind `#`."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands() -> list[Command]:
    """All of all pages, in their order."""
    return [Command(str(page.relative_to(ROOT)), text) for page in PAGES for text in commands_of(page.read_text())]


def commands_of(text: str) -> Iterator[str]:
    """Those of a page: every line of its blocks of shell; what is fed to a command by `<<` belongs to it."""
    for block in re.findall(r"^ *```(?:bash|sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        fed = re.sub(r"<<'?(\w+)'?\n.*?\n\s*\1$", r"<<\1", block, flags=re.MULTILINE | re.DOTALL)
        for line in fed.replace("\\\n", " ").splitlines():
            if line := re.sub(r"(^|\s+)#.*", "", line).strip():
                yield re.sub(r"\s+", " ", line) if "'" not in line else line


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a command."""

    code: int
    out: str
    errors: str = ""


class Shell:
    """Runs commands in a directory with an environment."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._forking = subprocess.Popen(
            [sys.executable, "-m", "tests.support.documented"],
            cwd=directory,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ems_streams(self, arguments: list[str], stdin: str = "") -> Done:
        """Run `ems-streams`."""
        assert self._forking.stdin
        assert self._forking.stdout
        self._forking.stdin.write(repr((arguments, stdin)) + "\n")
        self._forking.stdin.flush()
        return Done(*eval(self._forking.stdout.readline()))

    def close(self) -> None:
        """End it."""
        with self._forking:
            pass


def _serve() -> None:
    """For each line of stdin, a command and its input, a line of stdout with its exit code and what it said."""
    from ems_streams.cli import main

    for name in ("aiokafka", "asyncpg", "confluent_kafka", "rich.table", "ems_streams.settings", "uvloop", "ems_streams.kafka.admin"):
        __import__(name)
    for line in sys.stdin:
        arguments, given = eval(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            if (child := os.fork()) == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                _run_as(main.run, arguments, given)
            _, status = os.waitpid(child, 0)
            said = [_content(each) for each in (out, errors)]
        sys.stdout.write(repr((os.waitstatus_to_exitcode(status), *said)) + "\n")
        sys.stdout.flush()


def _run_as(run: Callable[[], None], arguments: list[str], given: str) -> None:
    sys.stdin = io.StringIO(given)
    sys.argv = ["ems-streams", *arguments]
    code = 1
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def words(text: str) -> list[str]:
    """A command as a shell splits it, up to a pipe or a redirection."""
    return shlex.split(re.split(r" (?:\||>|<<<?|&$)", text)[0])


if __name__ == "__main__":
    _serve()

"""The commands that README and docs tell people to run exist, with these options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ems_streams.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOT_COMMAND = typer.main.get_command(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist_with_these_options(page: Path) -> None:
    assert [problem for line in lines(page.read_text()) for problem in problems(line)] == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    text = "```bash\nems-streams topics tail X --no-such 1   # words\nEMS_A=1 ems-streams topic list | jq . --no\n```\n`ems-streams dlt lst --json`\n"

    assert [problem for line in lines(text) for problem in problems(line)] == ["topics tail: --no-such", "topic", "dlt lst"]


def test_the_table_of_the_readme_has_every_command() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    named = set()
    for row in re.findall(r"^\| `ems-streams ([^|]+) \|", table, re.MULTILINE):
        first, *more = re.findall(r"[\w-]+(?: [\w-]+)?", row)
        named |= {first, *(f"{first.split()[0]} {name}" for name in more)}

    assert named == set(every_command(ROOT_COMMAND))


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands that people are told of, with those before them."""
    if not hasattr(command, "commands"):
        yield " ".join(path)
        return
    for name, each in command.commands.items():
        if not each.hidden:
            yield from every_command(each, (*path, name))


def lines(text: str) -> Iterator[str]:
    """What follows `ems-streams` in blocks of code, and in code within lines."""
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline:
        yield from re.findall(r"(?:^|[\s/(])ems-streams ([a-z][^#|&;<>)]*)", line.split(" #")[0])


def problems(line: str) -> Iterator[str]:
    """The first of the words that is no command, or the options that the command does not have."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    command, path = ROOT_COMMAND, []
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        path.append(words.pop(0))
        if path[-1] not in command.commands:
            yield " ".join(path)
            return
        command = command.commands[path[-1]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    yield from (f"{' '.join(path)}: {word}" for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known)

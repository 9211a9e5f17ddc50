"""Reading a file of channels: every mistake with its place, its value and what is expected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ems_streams.channels.secrets import secret_of
from ems_streams.domain.channel_config import IN_WORDS, ChannelsConfig, WebhookChannel, members_of
from ems_streams.domain.webhook_message import secret_keys
from ems_streams.errors import UsageError

MAX_BYTES = 1024 * 1024
_SHOWN_CHARS = 80

Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file.

    Attributes:
        line: Where, from 1; None when it is about the file as a whole.
        place: The same in words, such as `channels.ops.url`.
        text: Value and expectation.
    """

    line: int | None
    place: str
    text: str

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.place}{self.text}"


class ChannelsFileError(UsageError):
    """A file of channels that cannot be used; the text has a line for each mistake."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.problems = problems


def load_channels(path: Path, environ: Mapping[str, str] | None = None) -> ChannelsConfig:
    """Read a file, and see that the secrets that it names are there.

    Args:
        environ: Variables; None does not look at secrets.

    Raises `ChannelsFileError` with all mistakes.
    """
    config, problems = read_channels(path)
    if config is not None and environ is not None:
        problems = list(_secret_problems(config, environ))
    if config is None or problems:
        raise ChannelsFileError(path, problems)
    return config


def read_channels(path: Path) -> tuple[ChannelsConfig | None, list[Problem]]:
    """What a file says, or its mistakes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [Problem(None, "", f"cannot be read ({error.strerror or error}); expected a file of channels")]
    if len(data) > MAX_BYTES:
        return None, [Problem(None, "", f"has {len(data)} bytes; expected at most {MAX_BYTES}")]
    try:
        text = data.decode("utf-8-sig")
        lines, twice = _lines_of(yaml.compose(text, Loader=yaml.SafeLoader))
        content = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        return None, [Problem(None, "", f"byte {error.start} is no UTF-8; expected YAML as UTF-8")]
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        return None, [_of_yaml(error)]
    return (None, twice) if twice else _validated(content, lines)


def _validated(content: object, lines: dict[Place, int]) -> tuple[ChannelsConfig | None, list[Problem]]:
    if not isinstance(content, dict):
        return None, [Problem(None, "", f"is {_shown(content)}; expected the members channels and routes")]
    try:
        return ChannelsConfig.model_validate(content), []
    except ValidationError as error:
        return None, _of_validation(error, content, lines)


def _secret_problems(config: ChannelsConfig, environ: Mapping[str, str]) -> Iterator[Problem]:
    for name, channel in config.channels.items():
        member, variable = (
            ("secret_env", channel.secret_env) if isinstance(channel, WebhookChannel) else ("password_env", channel.password_env)
        )
        try:
            if variable is not None:
                secret = secret_of(environ, variable)
                if isinstance(channel, WebhookChannel):
                    secret_keys(secret)
        except ValueError as error:
            yield Problem(None, f"channels.{name}.{member}='{variable}'", f": {error}")
        if channel.ca_file is not None and not Path(channel.ca_file).is_file():
            yield Problem(None, f"channels.{name}.ca_file='{channel.ca_file}'", ": must be a readable file of certificates")


def _lines_of(root: yaml.Node | None) -> tuple[dict[Place, int], list[Problem]]:
    """Line of each place, and keys that are there twice, of which YAML would drop one without a word."""
    lines: dict[Place, int] = {}
    twice: list[Problem] = []
    waiting: list[tuple[yaml.Node, Place]] = [] if root is None else [(root, ())]
    seen: set[int] = set()
    while waiting:
        node, place = waiting.pop()
        if id(node) in seen:
            continue  # an alias: its anchor has been looked at
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*place, key.value)
                if here in lines:
                    twice.append(Problem(key.start_mark.line + 1, _words(here), f": is there already on line {lines[here]}; expected once"))
                    continue
                lines[here] = key.start_mark.line + 1
                waiting.append((value, here))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[*place, index] = value.start_mark.line + 1
                waiting.append((value, (*place, index)))
    return lines, twice


def _of_yaml(error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(None if mark is None else mark.line + 1, "", f"is no YAML: {text}")


def _of_validation(error: ValidationError, content: dict[Any, Any], lines: dict[Place, int]) -> list[Problem]:
    problems = error.errors(include_url=False)
    # A list whose only element is wrong is called too short as well.
    whole = [each for each in problems if each["type"] != "too_short" or not _has_parts(each["loc"], problems)]
    return [_of_one(each, content, lines) for each in whole]


def _has_parts(place: Place, problems: Sequence[Any]) -> bool:
    return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in problems)


def _of_one(problem: Any, content: dict[Any, Any], lines: dict[Place, int]) -> Problem:
    place, kind = _in_file(problem["loc"], content)
    line = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), None)
    if problem["type"] == "extra_forbidden":
        return Problem(line, _words(place), f": there is no such member; expected some of {', '.join(members_of(kind, place[:-1]))}")
    if problem["type"] == "missing":
        return Problem(line, _words(place), ": is missing; " + _EXPECTED.get(place[-1], "it must be given"))
    text = _text(problem)
    if problem["type"] == "union_tag_not_found":
        return Problem(line, _words((*place, "type")), ": is missing; expected webhook or email")
    if problem["type"] == "union_tag_invalid":
        given = problem["input"].get("type")
        return Problem(lines.get((*place, "type"), line), _words((*place, "type")), f"={_shown(given)}: expected webhook or email")
    if not place:
        return Problem(line, "", text)
    # What is no URL for us may have a password in it all the same.
    hidden = isinstance(problem["input"], dict) or (place[-1] == "url" and "@" in str(problem["input"]))
    return Problem(line, _words(place), f"{'' if hidden else '=' + _shown(problem['input'])}: {text}")


def _text(problem: Any) -> str:
    context = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch":
        return f"expected {IN_WORDS.get(context['pattern'], 'what matches ' + context['pattern'])}"
    if problem["type"] in {"too_short", "too_long"}:
        return f"expected at least {context['min_length']}" if "min_length" in context else f"expected at most {context['max_length']}"
    text: str = (
        problem["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "expected")
        .replace("a valid tuple", "a list")
        .replace("a valid dictionary", "members by name")
    )
    return text[0].lower() + text[1:] if text[1:2].islower() else text


_EXPECTED = {
    "channels": "expected channels by name",
    "routes": "expected a list of routes",
    "secret_env": "expected the name of a variable with the secret",
    "url": "expected the URL of the receiver",
    "host": "expected the SMTP server",
    "from": "expected the address of the sender",
    "to": "expected a list of addresses",
}


def _in_file(location: Place, content: dict[Any, Any]) -> tuple[Place, str | None]:
    """The place without what pydantic puts in: the `type` of a channel, and that a key was meant; with that type."""
    place = tuple(part for part in location if part != "[key]")
    if len(place) > 2 and place[0] == "channels" and place[2] in {"webhook", "email"}:
        return (*place[:2], *place[3:]), place[2]
    channels = content.get("channels")
    channel = channels.get(place[1]) if isinstance(channels, dict) and len(place) > 1 and place[0] == "channels" else None
    return place, channel.get("type") if isinstance(channel, dict) else None


def _words(place: Place) -> str:
    words = ""
    for part in place:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else str(part)
    return words


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."

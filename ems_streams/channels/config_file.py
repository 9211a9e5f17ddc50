"""Reading a file of channels: every mistake with its place, its value and what is expected."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ems_streams.channels.secrets import secret_of
from ems_streams.domain.channel_config import IN_WORDS, ChannelsConfig, WebhookChannel
from ems_streams.domain.webhook_message import secret_keys
from ems_streams.errors import UsageError
from ems_streams.yaml_files.document import Document, Place, Problem, read_document
from ems_streams.yaml_files.explain import Wording, explain, shown


def _may_hold_password(place: Place, value: Any) -> bool:
    # What is no URL for us may have a password in it all the same.
    return place[-1] == "url" and "@" in str(value)


_WORDING = Wording(
    patterns=IN_WORDS,
    missing={
        "channels": "expected channels by name",
        "routes": "expected a list of routes",
        "secret_env": "expected the name of a variable with the secret",
        "url": "expected the URL of the receiver",
        "host": "expected the SMTP server",
        "from": "expected the address of the sender",
        "to": "expected a list of addresses",
    },
    hidden=_may_hold_password,
)


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
    document, problems = read_document(path, "a file of channels")
    if document is None:
        return None, problems
    config, found = _validated(document)
    problems = [*map(_discreet, problems), *found]
    return (None if problems else config), problems


def _discreet(problem: Problem) -> Problem:
    """A mistake of YAML without its value: that may be a password which somebody has written into the file."""
    if problem.value is None:
        return problem
    return replace(problem, value=None, text="YAML reads this as another number than it looks; expected a plain one, or text in quotes")


def _validated(document: Document) -> tuple[ChannelsConfig | None, list[Problem]]:
    if not isinstance(document.content, dict):
        return None, [Problem(None, "", f"is {shown(document.content)}; expected the members channels and routes")]
    try:
        return ChannelsConfig.model_validate(document.content), []
    except ValidationError as error:
        return None, explain(error, ChannelsConfig, document, _WORDING)


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
            yield Problem(None, f"channels.{name}.{member}", str(error), shown(variable))
        if channel.ca_file is not None and not Path(channel.ca_file).is_file():
            yield Problem(None, f"channels.{name}.ca_file", "must be a readable file of certificates", shown(channel.ca_file))

"""Secrets of channels: in variables, in `.env`, or in files that variables with `_FILE` name, as for all settings."""

import os
from collections.abc import Mapping
from pathlib import Path

from ems_streams.settings import env_file


def environment() -> dict[str, str]:
    """Variables, and lines of `.env` where there is no variable."""
    return {name: value for name, value in {**env_file(), **os.environ}.items() if value}


def secret_of(environ: Mapping[str, str], name: str) -> str:
    """The secret of a variable; raises `ValueError` in words, without showing it, when there is none."""
    if value := environ.get(name):
        return value
    path = environ.get(f"{name}_FILE")
    if path is None:
        raise ValueError(f"the variable is not set, and neither is {name}_FILE; must be the secret, or the path of a file with it")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE='{path}': must be a readable file ({error})") from None

"""`docker/compose.yaml` as Compose reads it: variables filled in by their defaults, durations in seconds."""

import re
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).parents[2] / "docker"
OURS = "ems-streams:"
"""What images of ours begin with."""


def load(*files: str, **variables: str) -> dict[str, Any]:
    """The files put together, with these variables set and no others; a list of a later file is added to the one before, as Compose does."""
    merged: dict[str, Any] = {}
    for name in files or ("compose.yaml",):
        merged = _merge(merged, yaml.safe_load((DOCKER / name).read_text()))
    filled: dict[str, Any] = _fill(merged, variables)
    return filled


def _merge(old: Any, new: Any, name: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old[key], value, key) if key in old else value for key, value in new.items()}
    if name in {"volumes", "ports", "secrets"}:
        # Mounts are told apart by where they are in the container.
        kept = [each for each in old if name != "volumes" or _target(each) not in map(_target, new)]
        return [*kept, *new]
    return new


def _target(mount: str) -> str:
    return mount.split(":")[1] if ":" in mount else mount


def _fill(value: Any, variables: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        # Within lists, Compose wants text.
        return [str(_fill(each, variables)) if isinstance(each, str) else _fill(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1]) or match[2] or ""

    text = re.sub(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}", variable, value)
    assert "${" not in text, f"{value}: what Compose makes of this is not known here"
    return int(text) if text.isdigit() and text != value else text


def ours(compose: dict[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {name: each for name, each in compose["services"].items() if each["image"].startswith(OURS)}


def arguments(service: dict[str, Any]) -> list[str]:
    """Arguments of `ems-streams` in a service of ours."""
    command = [str(each) for each in service["command"]]
    if service.get("entrypoint") == ["/bin/sh", "-c"]:
        return command[0].rpartition("ems-streams ")[2].split()
    return command


def seconds(duration: str) -> int:
    """`40s` and `2m` as a number."""
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]
    return int(number) * (60 if unit == "m" else 1)

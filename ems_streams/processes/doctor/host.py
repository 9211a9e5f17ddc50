"""Checks of this machine: settings, the disk of the state directories, and whose they are."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from ems_streams.channels.config_file import ChannelsFileError, load_channels
from ems_streams.channels.secrets import environment
from ems_streams.domain.channel_config import ChannelsConfig
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import finding
from ems_streams.ops.doctor.host_findings import disk_findings, size, stale_state_findings
from ems_streams.ops.doctor.setting_findings import contradicting_names, disagreeing_settings, unknown_variables
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.groups import members_of

_FILES_MAX = 200_000
"""So many files are added up; a directory with more is larger than what is said."""


async def check_settings(context: Context) -> Report:
    """Names that set nothing, and settings that do not go together; wrong values are found before any check runs."""
    environ = environment()
    findings = [*contradicting_names(environ, os.environ), *disagreeing_settings(context.settings)]
    secrets: set[str] = set()
    path = context.settings.channels_file
    if path is not None:
        try:
            secrets = _secret_names(load_channels(path, environ))
        except ChannelsFileError as error:
            found = "; ".join(str(each) for each in error.problems[:3])
            findings.append(finding("channels-file-wrong", f"{path} cannot be used", found=found, expected="a file of channels", file=path))
    findings += unknown_variables(environ, secrets)
    return Report(findings, {"set": sum(name.startswith("EMS_") for name in environ)})


async def check_disk(context: Context) -> Report:
    """Space on the disk of `EMS_DATA_DIR`, and whether it can be written."""
    directory = context.settings.data_dir.absolute()
    there = next(path for path in (directory, *directory.parents) if _is_there(path))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        found = f"{there} cannot be written by this user" if there.is_dir() else f"{there} is no directory"
        what = f"{directory} cannot be used for state"
        return Report([finding("data-dir-unusable", what, found=found, expected="a directory that can be written", directory=there)])
    total, free = context.disk(there)
    held = await asyncio.to_thread(_bytes_in, directory)
    return Report(list(disk_findings(str(directory), total, free)), {"directory": str(directory), "free": size(free), "holds": size(held)})


async def check_state(context: Context) -> Report:
    """State directories of workers that do not run any more."""
    settings = context.settings
    found = await asyncio.to_thread(lambda: [(path.name, str(path), _bytes_in(path)) for path in _state_directories(settings.data_dir)])
    members = await asyncio.to_thread(members_of, settings, settings.application_id)
    running = [name.removeprefix(f"{settings.application_id}-") for name in members]
    return Report(list(stale_state_findings(found, running)), {"directories": len(found)})


def _state_directories(data_dir: Path) -> list[Path]:
    """Directories that a worker has made: each has the tables of a version of Faust's layout in it."""
    try:
        return [path for path in sorted(data_dir.iterdir()) if path.is_dir() and any(path.glob("v*/tables"))]
    except OSError:
        return []  # there is none yet, or it cannot be used, which `check_disk` says


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False  # what it lies in may not be entered


def _bytes_in(directory: Path) -> int:
    return sum(_sizes(directory))


def _sizes(directory: Path) -> Iterator[int]:
    count = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            count += 1
            if count > _FILES_MAX:
                return
            try:
                yield (Path(parent) / name).lstat().st_size
            except OSError:
                continue  # it has just gone


def _secret_names(config: ChannelsConfig) -> set[str]:
    """Variables that the channels take their secrets from."""
    fields = [(name, value) for channel in config.channels.values() for name, value in channel.model_dump().items()]
    names = {value for name, value in fields if name.endswith("_env") and isinstance(value, str)}
    return names | {f"{name}_FILE" for name in names}

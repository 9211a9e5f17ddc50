"""What the code says that images, Compose and Kubernetes must agree with: ports, commands, settings, deadlines, the user."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trustme

from ems_streams.access.internal import check_internal
from ems_streams.channels.source import _STOP_TIMEOUT_S as CHANNEL_STOP_S
from ems_streams.errors import SettingError
from ems_streams.gateway import server as gateway
from ems_streams.gateway.security.exposure import check_exposure
from ems_streams.kafka import outbox, positioned_reader, pulse
from ems_streams.kafka.ownership import _STOP_TIMEOUT_S as OWNERSHIP_STOP_S
from ems_streams.processes import ingress, notifier, sink, worker
from ems_streams.settings import Settings, environment_names
from tests.unit.cli.test_readme import problems

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"

PORTS = {name: Settings.model_fields[f"{name}_port"].default for name in ("ingress", "worker", "sink", "notifier", "gateway")}
"""Port of each process' HTTP, as it is without a setting."""

SECONDS_TO_STOP = {
    "ingress": ingress.FINISH_TIMEOUT_S
    + ingress.STOP_TIMEOUT_S
    + pulse.STOP_TIMEOUT_S
    + outbox._STOP_TIMEOUT_S
    + positioned_reader.STOP_TIMEOUT_S,
    "worker": worker.STOP_TIMEOUT_S + worker.START_CANCEL_TIMEOUT_S,
    "sink": sink.FINISH_TIMEOUT_S + outbox._STOP_TIMEOUT_S + positioned_reader.STOP_TIMEOUT_S,
    "notifier": notifier.FINISH_TIMEOUT_S + OWNERSHIP_STOP_S + CHANNEL_STOP_S,
    "gateway": gateway.SHUTDOWN_TIMEOUT_S + positioned_reader.STOP_TIMEOUT_S,
}
"""From SIGTERM to the end, if every part takes all the time that it may."""

USER = int(re.findall(r"^USER (\d+):\d+$", DOCKERFILE.read_text(), re.MULTILINE)[-1])
"""Of the image."""


def command_faults(arguments: Sequence[str]) -> list[str]:
    """What is wrong with arguments of `ems-streams`."""
    return list(problems(shlex.join(arguments)))


def image_environment() -> dict[str, str]:
    """What the image sets for every process."""
    (block,) = re.findall(r"^ENV (PATH=(?:.*\\\n)*.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    return dict(each.split("=", 1) for each in block.replace("\\\n", " ").split())


def settings_faults(
    process: str, environment: Mapping[str, str], mounts: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What is wrong with the variables of a process, whose files are below `mounts`."""
    known = {name for field, info in Settings.model_fields.items() for name in environment_names(field, info)}
    faults = [f"{name} is no setting" for name in environment if name not in known and not name.startswith(("PYTHON", "PATH"))]
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        if name.endswith("_FILE") and value:
            if not any(Path(value).is_relative_to(mount) for mount in mounts):
                faults.append(f"{name}={value} is in no volume")
            monkeypatch.setenv(name, str(_stand_in(name, tmp_path)))
        elif name != "PATH":
            monkeypatch.setenv(name, value)
    try:
        settings = Settings.load()
    except SettingError as error:
        return [*faults, str(error)]
    for check in (check_internal, check_exposure) if process == "gateway" else (check_internal,):
        try:
            check(settings)
        except SettingError as error:
            faults.append(str(error))
    return faults


def _stand_in(name: str, tmp_path: Path) -> Path:
    """A file of the kind that a variable names."""
    if name.endswith(("_CA_FILE", "_CERT_FILE", "_KEY_FILE")):
        return _certificates(tmp_path)[name.rsplit("_", 2)[1]]
    path = tmp_path / name
    if name.endswith("_TOKENS_FILE"):
        path.write_text("tokens: []\n")
    else:
        path.write_text("postgresql://ems:x@postgres:5432/ems" if "DATABASE" in name else "f00d" * 12)
    return path


def _certificates(tmp_path: Path) -> dict[str, Path]:
    """Of an authority, of somebody, and the private key of that."""
    files = {kind: tmp_path / f"{kind}.pem" for kind in ("CA", "CERT", "KEY")}
    if not files["CA"].exists():
        authority = trustme.CA()
        certificate = authority.issue_cert("ems.example")
        authority.cert_pem.write_to_path(str(files["CA"]))
        certificate.cert_chain_pems[0].write_to_path(str(files["CERT"]))
        certificate.private_key_pem.write_to_path(str(files["KEY"]))
    return files

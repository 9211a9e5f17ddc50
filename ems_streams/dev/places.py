"""Commands and addresses that can be copied from the board."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ems_streams.dev.plan import Plan

if TYPE_CHECKING:
    from ems_streams.dev.secure import SecureRun


def secure_places(plan: Plan, secure: "SecureRun", command: str) -> list[tuple[str, str]]:
    """Where to look in a secure run, and what has to be shown there."""
    ca, env, token_file = shorten(secure.certificates.ca), shorten(secure.operator_env), shorten(secure.operator_token_file)
    ask = f'curl -s --cacert {ca} -H "Authorization: Bearer $(cat {token_file})" {plan.dashboard_url}'
    places = [
        ("dashboard", plan.dashboard_url),
        ("log in", f"with the token in {token_file}; browsers trust {ca}"),
        *_publishing(plan, secure),
        ("fleet", f"{ask}/api/v1/devices?limit=5"),
        ("commands", f"set -a; . {env}; set +a  # then {command} doctor, topics, command send, ... are the operator's"),
        ("events", f"{command} --env-file {env} topics tail device-telemetry"),
        ("logs", str(shorten(plan.log_dir)) + "/"),
    ]
    return [place for place in places if plan.options.simulator or place[0] != "fleet"]


def _publishing(plan: Plan, secure: "SecureRun") -> list[tuple[str, str]]:
    if "mqtt" not in plan.embedded or not secure.devices:
        return []
    device, ca = secure.devices[0], shorten(secure.certificates.ca)
    shown = secure.device(device.serial)
    broker = f"-h localhost -p {plan.ports.mqtt} --cafile {ca} --cert {shorten(shown.cert)} --key {shorten(shown.key)}"
    return [("publish", f"mosquitto_pub {broker} -q 1 -t {device.base}/telemetry -m '{{\"powerKw\": 45.2}}'")]


def shorten(path: Path) -> Path:
    """The path relative to the working directory when it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def own_command() -> str:
    """How to call this installation from the shell it was started in."""
    if shutil.which("ems-streams"):
        return "ems-streams"
    script = Path(sys.executable).with_name("ems-streams")
    return str(shorten(script)) if script.exists() else f"{shorten(Path(sys.executable))} -m ems_streams"

"""Commands and addresses that can be copied from the board."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ems_streams.dev.plan import Plan

if TYPE_CHECKING:
    from ems_streams.dev.secure import SecureRun


def places_of(plan: Plan) -> list[tuple[str, str]]:
    """Where to look in a run, as pairs of what and a command or address that can be copied."""
    command = own_command()
    found = _open(plan, command) if plan.secure is None else _secure(plan, plan.secure, command)
    found = [("dashboard", plan.dashboard_url), *found, ("logs", str(shorten(plan.log_dir)) + "/")]
    return [place for place in found if plan.options.simulator or place[0] != "fleet"]


def _open(plan: Plan, command: str) -> list[tuple[str, str]]:
    settings = plan.settings
    if settings.kafka_bootstrap_servers != "localhost:9092" and plan.ports.kafka != 9092:
        command = f"EMS_KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers} {command}"
    host, port = settings.mqtt_url.host, settings.mqtt_url.port
    host = "localhost" if host == "127.0.0.1" else host
    return [
        *([("access", "open: anybody on this machine may do everything")] if settings.gateway_is_open else []),
        ("publish", f"mosquitto_pub -h {host} -p {port} -t sites/1/devices/INV-001/telemetry -m '{{\"powerKw\": 45.2}}'"),
        ("device", f"curl -s {plan.dashboard_url}/api/v1/devices/INV-001"),
        ("fleet", f"curl -s '{plan.dashboard_url}/api/v1/devices?limit=5'"),
        ("events", f"{command} topics tail device-telemetry"),
    ]


def _secure(plan: Plan, secure: "SecureRun", command: str) -> list[tuple[str, str]]:
    """With what has to be shown there."""
    ca, env, token_file = shorten(secure.certificates.ca), shorten(secure.operator_env), shorten(secure.operator_token_file)
    ask = f'curl -s --cacert {ca} -H "Authorization: Bearer $(cat {token_file})" {plan.dashboard_url}'
    return [
        ("log in", f"with the token in {token_file}; browsers trust {ca}"),
        *_publishing(plan, secure),
        ("fleet", f"{ask}/api/v1/devices?limit=5"),
        ("commands", f"set -a; . {env}; set +a  # then {command} doctor, topics, command send, ... are the operator's"),
        ("events", f"{command} --env-file {env} topics tail device-telemetry"),
    ]


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

"""Every container's command line works as a plain process: as nobody, on a read-only root, watched and ended as Compose does it."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ems_streams.access.token_entries import hash_of
from ems_streams.dev.ports import Ports
from tests.support.compose import arguments, load, ours, seconds
from tests.support.container import Machine, can_contain
from tests.support.container_facts import PORTS
from tests.support.processes import Deployment, Running, eventually, get

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not can_contain(), reason="no namespaces of mounts here: needs root, unshare and setpriv"),
]

TOKEN = "a-token-of-this-test-only"
SERVICES = ours(load(SIM_DEVICES="5", SIM_RATE="20"))


@pytest.fixture
def machine(deployment: Deployment) -> Iterator[Machine]:
    """With the servers of the deployment in the place of those of Compose."""
    ports = Ports.free()
    port_of = {name: getattr(ports, name) for name in PORTS}
    found = Machine(
        replaced={
            "kafka:19092": deployment.stack.kafka_bootstrap,
            "mqtt://mosquitto:1883": deployment.stack.mqtt_url,
            "http://worker:6066": f"http://localhost:{port_of['worker']}",
            f":{PORTS['worker']}": f":{port_of['worker']}",
        },
        environment={
            "EMS_APPLICATION_ID": deployment.application_id,
            "EMS_PARTITIONS": str(deployment.partitions),
            "EMS_MQTT_SHARE_GROUP": deployment.application_id,
            **{f"EMS_{name.upper()}_PORT": str(port) for name, port in port_of.items()},
        },
    )
    secrets = found.directory / "secrets"
    secrets.mkdir()
    (secrets / "internal_token").write_text("f00d" * 12)
    (secrets / "gateway_tokens").write_text(f"tokens:\n- {{name: test, hash: {hash_of(TOKEN)}, role: viewer, sites: all}}\n")
    (secrets / "database_url").write_text(deployment.stack.database_url)
    found.replaced = {**found.replaced, "/run/secrets/": f"{secrets}/"}
    yield found
    shutil.rmtree(found.directory, ignore_errors=True)


def test_a_container_can_write_nothing_but_its_state_and_tmp(machine: Machine) -> None:
    script = 'id -u; touch "$PWD/state" "$TMPDIR/x" && for each in / /etc "$HOME" /usr; do touch "$each/x" 2>/dev/null && echo "wrote $each"; done; true'
    tried = subprocess.run(
        machine.contained("probe", ["/bin/sh", "-c", script]),
        env={"PATH": os.environ["PATH"], "TMPDIR": str(machine.directory / "probe-tmp"), "HOME": str(Path.home())},
        cwd=machine.data("probe"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert tried.stdout.split() == ["10001"]
    assert (machine.data("probe") / "state").exists()


def devices(gateway: str) -> list[dict[str, Any]]:
    """As someone with a token sees them."""
    request = urllib.request.Request(f"{gateway}/api/v1/devices", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as response:
        found: list[dict[str, Any]] = json.load(response)["devices"]
        return found


def test_all_processes_work_as_containers(machine: Machine) -> None:
    running: dict[str, Running] = {}
    try:
        for name in ("ingress", "worker", "sink", "notifier", "gateway"):
            port = int(machine.environment[f"EMS_{name.upper()}_PORT"])
            running[name] = machine.start(name, SERVICES[name], port)
        for name, process in running.items():
            process.wait_until_ready(60)
            assert machine.health(name, SERVICES[name]) == 0, name
        running["simulator"] = machine.start("simulator", SERVICES["simulator"], 0)
        gateway = running["gateway"].url
        assert get(f"{gateway}/api/v1/devices")[0] == 401
        listed = eventually(lambda: devices(gateway), 30, "devices in the live table")
        assert {each["serialNumber"][:4] for each in listed} == {"SIM-"}
        seen = urllib.request.urlopen(f"{running['worker'].url}/readyz", timeout=5)
        assert json.load(seen)["status"] == "ok"
        # Told to stop all at once, as `docker compose stop` does.
        codes = {name: process.popen.terminate() for name, process in running.items()}
        for name, process in running.items():
            limit_s = seconds(SERVICES[name].get("stop_grace_period", "10s"))
            codes[name] = process.popen.wait(limit_s)
        assert codes == dict.fromkeys(running, 0), {name: process.log_tail() for name, process in running.items() if codes[name]}
    finally:
        for process in running.values():
            if process.popen.poll() is None:
                process.kill()
    written = {name: bool(list(machine.data(name).iterdir())) for name in running}
    assert written == {name: arguments(SERVICES[name])[0] == "worker" for name in running}
    assert machine.health("worker", SERVICES["worker"]) == 3

"""Simulated devices with every fault, on the whole way: what the system says in the end is what the devices' own logs say."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from ems_streams.kafka.catalogue import DEVICE_COMMAND_EVENTS
from tests.chaos.command_oracles import Deeds, broken_life, deeds_of, untrue
from tests.support.commands import DeviceLog
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

SEED = 390
"""With it both devices that come and go are away for more than 11 s the first time."""
LIMIT = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 2.0}}


@dataclass
class Fleet:
    """A simulator whose devices all have the same fault."""

    deployment: Deployment
    prefix: str
    log: DeviceLog

    @property
    def inverter(self) -> str:
        return f"{self.prefix}INV-00001"

    @property
    def meter(self) -> str:
        return f"{self.prefix}MTR-00001"

    def tell(self, serial_number: str, expires_in_s: int = 60, **command: Any) -> str:
        """Ask for a command; its id."""
        url = f"http://127.0.0.1:{self.deployment.ports.gateway}/api/v1/devices/{serial_number}/commands"
        body = json.dumps({**(command or LIMIT), "expiresInS": expires_in_s}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            command_id: str = json.load(answer)["commandId"]
        return command_id

    def deeds(self, command_id: str) -> Deeds:
        return deeds_of(self.log.lines()).get(command_id, Deeds())


def start(deployment: Deployment, prefix: str, faults: str) -> Fleet:
    path = deployment.directory / f"{prefix}commands.jsonl"
    options = ["--seed", str(SEED), "--prefix", prefix, "--devices", "2", "--sites", "1", "--rate", "4", "--duration", "0"]
    told = ["--client-count", "1", "--command-log", str(path), "--command-faults", faults]
    deployment.start(f"simulator-{prefix}", ["simulate", *options, *told], 0, {})
    return Fleet(deployment, prefix, DeviceLog(path))


KINDS = {"good": "", "refuse": "refuse=1", "fail": "fail=1", "twice": "twice=1,late=1", "never": "never=1"}
EXPECTED = {
    "good": ("COMPLETED", "yes", ["COMPLETED"]),
    "refuse": ("REJECTED", "no", []),
    "fail": ("FAILED", "no", ["FAILED"]),
    "twice": ("COMPLETED", "yes", ["COMPLETED"]),
    "never": ("EXPIRED", "unknown", ["COMPLETED"]),
    "back in time": ("COMPLETED", "yes", ["COMPLETED"]),
    "back too late": ("EXPIRED", "unknown", []),
}
"""Status, whether it was executed as far as we know, and what the device itself has written down of it."""

Told = dict[str, tuple[Fleet, str]]
"""Who was told, and the id of the command, by what is wrong with the device."""


def tell_those_that_are_there(deployment: Deployment) -> Told:
    fleets = {kind: start(deployment, f"{kind.upper()}-", faults) for kind, faults in KINDS.items()}
    gateway = f"http://127.0.0.1:{deployment.ports.gateway}"

    def known(serial_number: str) -> bool:
        return get(f"{gateway}/api/v1/devices/{serial_number}")[0] == 200

    eventually(lambda: all(known(each.inverter) for each in fleets.values()), 60, "all devices are known")
    return {kind: (each, each.tell(each.inverter, expires_in_s=3 if kind == "never" else 60)) for kind, each in fleets.items()}


def tell_those_that_are_away(deployment: Deployment) -> Told:
    away = start(deployment, "AWAY-", "offline=1")

    def offline(serial_number: str) -> bool:
        states = [line["event"] for line in away.log.lines("OFFLINE", "ONLINE") if line["serialNumber"] == serial_number]
        return states[-1:] == ["OFFLINE"]

    eventually(lambda: offline(away.inverter), 60, "one device is away")
    in_time = away.tell(away.inverter)
    eventually(lambda: offline(away.meter), 60, "the other device is away")
    too_late = away.tell(away.meter, expires_in_s=2, command="SET_REPORTING_INTERVAL", parameters={"intervalS": 2})
    return {"back in time": (away, in_time), "back too late": (away, too_late)}


def ends(deployment: Deployment, told: Told) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for kind, (fleet, command_id) in told.items():
        status, view = get(f"http://127.0.0.1:{deployment.ports.gateway}/api/v1/commands/{command_id}")
        found[kind] = (view["status"], view["executed"], fleet.deeds(command_id).executed) if status == 200 else (status,)
    return found


def check_lives(deployment: Deployment, told: Told) -> None:
    events = [json.loads(record.value) for record in consume(deployment.stack.kafka_bootstrap, DEVICE_COMMAND_EVENTS)]
    for kind, (fleet, command_id) in told.items():
        life = [event for event in events if event["commandId"] == command_id]
        assert (kind, broken_life(life), untrue(life[-1], fleet.deeds(command_id))) == (kind, "", "")


def test_what_is_said_of_each_command_is_what_its_device_has_done(deployment: Deployment) -> None:
    deployment.extra |= {"EMS_HEARTBEAT_INTERVAL_S": "0.5"}
    for process in (deployment.ingress(), deployment.worker(), deployment.gateway()):
        process.wait_until_ready()
    told = tell_those_that_are_there(deployment) | tell_those_that_are_away(deployment)
    eventually(lambda: ends(deployment, told) == EXPECTED, 90, "every command is at its end")
    away, _ = told["back too late"]
    eventually(lambda: {away.inverter, away.meter} <= {line["serialNumber"] for line in away.log.lines("ONLINE")}, 30, "both are back")
    # A session keeps its order: with what is sent now, the device has had all that the broker had kept for it.
    later = {"later": (away, away.tell(away.meter, command="SET_REPORTING_INTERVAL", parameters={"intervalS": 2}))}
    eventually(lambda: ends(deployment, later)["later"][0] == "COMPLETED", 30, "and the one that was too late does what it is told")
    assert ends(deployment, told) == EXPECTED, "also by then"
    fleet, twice = told["twice"]
    answers = [line["result"] for line in fleet.log.lines("ANSWERED", command_id=twice)]
    assert sorted(answers) == ["ACCEPTED", "ACCEPTED", "COMPLETED", "COMPLETED"]
    for fleet, command_id in told.values():
        for line in fleet.log.lines("RECEIVED", command_id=command_id):
            assert line["correlation"] == command_id
            assert line["responseTopic"].endswith("/commands/ack")
            assert 0 < line["expiryS"] <= 60
    check_lives(deployment, told)

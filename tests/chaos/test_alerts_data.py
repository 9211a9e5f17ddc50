"""Alerts about what is in the data, and about people who are not told: each fires, and is over by what the runbook advises."""

import asyncio
import itertools
import json
import socket
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.websocket_swarm import connect
from ems_streams.mqtt.publisher import MqttPublisher
from tests.chaos.everything import everything
from tests.chaos.harness import System
from tests.chaos.rehearsal import Rehearsal, needs_prometheus, rehearsing
from tests.chaos.test_alerts_processes import down, up
from tests.integration.worker.test_watchdog import STUCK_WORKER
from tests.integration.worker.test_worker import produce, telemetry
from tests.support.notifier import notify
from tests.support.processes import get
from tests.support.receivers import Webhook, always

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), needs_prometheus]

SETTLED_S = 15.0
RULES = """\
rules:
- id: rehearsal-{name}
  title: Hot
  severity: {severity}
  condition: {{kind: threshold, metric: {metric}, above: 500}}
"""


def test_alerts_of_data(system: System, tmp_path: Path) -> None:
    with everything(system, tmp_path) as receiver, rehearsing(system, tmp_path, "Data, commands, people") as rehearsal:
        system.run_for(SETTLED_S)
        rehearsal.play(
            {
                "letters": lambda: _letters(rehearsal),
                "folds": lambda: _folds(rehearsal),
                "stalled": lambda: _stalled(rehearsal),
                "critical": lambda: _critical(rehearsal, tmp_path),
                "flood": lambda: _flood(rehearsal, tmp_path),
                "commands": lambda: _commands(rehearsal),
                "channel": lambda: _channel(rehearsal, receiver),
                "clients": lambda: _clients(rehearsal),
            }
        )


def _letters(rehearsal: Rehearsal) -> None:
    system = rehearsal.system
    asyncio.run(send(system, [("LETTERS-1", b"not json")] * 20))
    rehearsal.fires("EmsDeadLettersGrowing", "20 messages of a device that are no JSON")
    listed = system.deployment.command("dlt", "list", "device-telemetry-dlt", "--group-by", "device", "--json")
    assert "LETTERS-1" in listed.stdout, "the runbook's first look does not name the device"


def _folds(rehearsal: Rehearsal) -> None:
    """A worker with a fault put in: it never gets 666 kW folded."""
    system = rehearsal.system
    with one_worker(system, "-m", "tests.support.failing_processes"):
        assert system.wait_ready() == []
        asyncio.run(send(system, [("FOLD-1", b'{"powerKw": 666}')]))
        rehearsal.fires("EmsFoldFailures", "a message at which the fold fails (fault put in)")
        letter = system.settled(
            lambda: "FOLD-1" in system.deployment.command("dlt", "list", "device-telemetry-dlt", "--group-by", "device", "--json").stdout,
            60,
        )
        assert letter, "the record is not in the dead letters"


def _stalled(rehearsal: Rehearsal) -> None:
    """A worker that hands on nothing of a partition from a certain record on (fault put in)."""
    system = rehearsal.system
    with one_worker(system, "-c", STUCK_WORKER):
        produce(system.deployment.stack.kafka_bootstrap, [telemetry("STALL-1", 2.5, 1)])
        rehearsal.fires("EmsStalled", "a partition of which nothing is handed on (fault put in)")
        rehearsal.ends("EmsStalled", "nothing: after EMS_STALL_TIMEOUT_S the worker ended and was started again", within_s=180)


@contextmanager
def one_worker(system: System, *program: str) -> Iterator[None]:
    """Instead of two that are well, one that runs this; when it ends it is started without the fault, and both are at the end."""
    deployment, usual = system.deployment, system.deployment.program
    for name in system.names("worker"):
        down(system, name)
    deployment.program = program
    up(system, "worker-0", lambda: deployment.worker(0))
    deployment.program = usual
    try:
        yield
    finally:
        down(system, "worker-0")
        up(system, "worker-0", lambda: deployment.worker(0))
        up(system, "worker-1", lambda: deployment.worker(1))
        system.wait_ready()


def _critical(rehearsal: Rehearsal, directory: Path) -> None:
    system = rehearsal.system
    _apply(system, directory, "CRITICAL", "rehearsalA")

    def hot() -> None:
        # The rule counts for what comes after it, and has its way to every partition.
        asyncio.run(send(system, [("CRIT-1", b'{"rehearsalA": 900}')]))

    rehearsal.fires("EmsCriticalAlarmsWaiting", "a critical alarm that nobody acknowledges", look=hot)
    gateway = system["gateway"].url
    _, body = get(f"{gateway}/api/v1/alarms?state=RAISED&severity=CRITICAL")
    (alarm,) = body["alarms"]
    request = urllib.request.Request(f"{gateway}/api/v1/alarms/{alarm['alarmId']}/ack", json.dumps({"by": "ann"}).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20):
        pass
    rehearsal.ends("EmsCriticalAlarmsWaiting", "acknowledged over HTTP")


def _flood(rehearsal: Rehearsal, directory: Path) -> None:
    system = rehearsal.system
    serials = [f"HOT-{number}" for number in range(520)]
    _apply(system, directory, "WARNING", "rehearsalB")

    def hot() -> None:
        asyncio.run(send(system, [(serial, b'{"rehearsalB": 900}') for serial in serials]))

    rehearsal.fires("EmsAlarmFlood", "a rule that 520 devices meet", look=hot)


def _apply(system: System, directory: Path, severity: str, metric: str) -> None:
    path = directory / f"rules-{severity}.yaml"
    path.write_text(RULES.format(name=severity.lower(), severity=severity, metric=metric))
    system.deployment.command("rules", "apply", str(path), "--by", "rehearsal")


def _commands(rehearsal: Rehearsal) -> None:
    """Devices that refuse everything."""
    system = rehearsal.system
    arguments = ["simulate", "--seed", "3", "--prefix", "REFUSE-", "--devices", "8", "--rate", "8", "--duration", "0", "--command-faults"]
    fleet = system.deployment.start("simulator-refuse", [*arguments, "refuse=1"], 0, {})
    gateway = system["gateway"].url
    try:
        known = system.settled(lambda: _inverters(gateway, "REFUSE-", 3), 60)
        assert len(known) == 3, known
        for number in range(15):
            body = json.dumps({"command": "REBOOT", "requestedBy": "ann"}).encode()
            url = f"{gateway}/api/v1/devices/{known[number % len(known)]}/commands"
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=20):
                pass
        rehearsal.fires("EmsCommandsFailing", "15 commands to devices that reject all")
    finally:
        fleet.kill()


def _inverters(gateway: str, prefix: str, count: int) -> list[str]:
    """The first ones of a fleet, once they are known."""
    serials = [f"{prefix}INV-{number:05d}" for number in range(1, count + 1)]
    return serials if all(get(f"{gateway}/api/v1/devices/{serial}")[0] == 200 for serial in serials) else []


def _channel(rehearsal: Rehearsal, receiver: Webhook) -> None:
    system, tags = rehearsal.system, itertools.count()

    def told(count: int) -> list[str]:
        tag = next(tags)
        return [f"rehearsal-{tag}-{number}" for number in range(count)]

    receiver.stop()
    notify(system.deployment, told(5))
    rehearsal.fires("EmsChannelFailing", "the receiver of a channel refuses connections")
    receiver.start()
    notify(system.deployment, told(5))
    rehearsal.ends("EmsChannelFailing", "receiver started again, and something to be told")

    receiver.answer = always(0)
    notify(system.deployment, told(1000))
    rehearsal.fires("EmsChannelBehind", "1,000 notifications, and a receiver that never answers")
    receiver.stop()
    receiver.answer = always(204)
    receiver.start()
    rehearsal.ends("EmsChannelBehind", "receiver mended")

    receiver.answer = always(410)
    notify(system.deployment, told(5))
    rehearsal.fires("EmsNotificationsGivenUp", "a receiver that answers 410")
    receiver.answer = always(204)
    _, body = get(f"{system['gateway'].url}/api/v1/dlt/device-notifications-dlt")
    assert body["letters"], "the runbook's look at the dead letters shows none"


def _clients(rehearsal: Rehearsal) -> None:
    """Clients that never read."""
    system = rehearsal.system
    deaf: list[socket.socket] = [connect(system["gateway"].port, receive_buffer_bytes=4096) for _ in range(25)]
    tags = itertools.count()

    def more() -> None:
        tag = next(tags)
        notify(system.deployment, (f"clients-{tag}-{number}" for number in range(1500)))

    try:
        rehearsal.fires("EmsWebSocketDrops", "25 clients that never read, and some thousand notifications", look=more)
    finally:
        for each in deaf:
            each.close()


async def send(system: System, messages: list[tuple[str, bytes]]) -> None:
    """Telemetry of devices of site 3 over MQTT; returns when the broker has it all."""
    async with MqttPublisher(system.deployment.stack.mqtt_url, f"rehearsal-{uuid.uuid4().hex[:6]}") as device:
        await device.wait_connected()
        for serial, payload in messages:
            await device.publish(f"sites/3/devices/{serial}/telemetry", payload)

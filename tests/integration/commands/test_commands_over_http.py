"""Commands on the whole way: HTTP or command line, Kafka, worker, MQTT, device, and back through the ingress."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer

from ems_streams.dev.ports import Ports
from ems_streams.domain.registry import RegistryEntry
from ems_streams.kafka.catalogue import DEVICE_COMMAND_EVENTS, DEVICE_COMMANDS, DEVICE_REGISTRY
from ems_streams.kafka.partitioner import partition_for
from tests.support.command_device import CommandDevice
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

FAST = {"EMS_HEARTBEAT_INTERVAL_S": "0.5"}
WELL = ["REQUESTED", "PUBLISHED", "DELIVERED", "ACCEPTED", "COMPLETED"]


def call(method: str, url: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


class Devices:
    """Devices on a loop of their own, so that tests may wait in the meantime."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._made: list[CommandDevice] = []

    def add(
        self, name: str, *, answers: tuple[str, ...] = ("ACCEPTED", "COMPLETED"), limits: dict[str, Any] | None = None
    ) -> CommandDevice:
        serial = f"{self._deployment.application_id}-{name}"
        entry = RegistryEntry(device_id=1, serial_number=serial, site_id=7, device_type="SOLAR_INVERTER", limits=limits or {})
        producer = Producer({"bootstrap.servers": self._deployment.stack.kafka_bootstrap})
        number = partition_for(serial.encode(), self._deployment.partitions)
        producer.produce(DEVICE_REGISTRY, entry.encode(), serial.encode(), partition=number)
        producer.flush(10)
        device = CommandDevice(self._deployment.stack.mqtt_url, f"sites/7/devices/{serial}/commands", f"device-{serial}", answers=answers)
        self.do(device.connect())
        self._made.append(device)
        return device

    def do(self, work: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(30)

    def stop(self) -> None:
        for device in self._made:
            self.do(device.disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def devices(deployment: Deployment) -> Iterator[Devices]:
    made = Devices(deployment)
    yield made
    made.stop()


def serial_of(device: CommandDevice) -> str:
    return device.topic.split("/")[3]


def statuses(view: dict[str, Any]) -> list[str]:
    return [step["status"] for step in view["steps"]]


@dataclass
class Place:
    """A system that is up, with a device that does what it is told, and one that hears it and says nothing."""

    deployment: Deployment
    device: CommandDevice
    silent: CommandDevice
    api: str

    def commands_of(self, device: CommandDevice) -> str:
        return f"{self.api}/devices/{serial_of(device)}/commands"

    def shown(self, command_id: str) -> dict[str, Any]:
        view: dict[str, Any] = get(f"{self.api}/commands/{command_id}")[1]
        return view


WANTED = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 40}, "expiresInS": 60, "requestedBy": "ann"}


def test_a_command_from_the_request_to_the_result(deployment: Deployment, devices: Devices) -> None:
    """One system for all of it, since it takes longer to start than to try."""
    deployment.extra |= FAST
    for process in (deployment.worker(), deployment.ingress(), deployment.gateway()):
        process.wait_until_ready()
    api = f"http://127.0.0.1:{deployment.ports.gateway}/api/v1"
    place = Place(deployment, devices.add("A", limits={"maxPowerKw": 50}), devices.add("B", answers=()), api)
    eventually(lambda: all(get(place.commands_of(each))[0] == 200 for each in (place.device, place.silent)), 30, "known")
    what_is_refused_is_told_with_field_and_limit_and_never_published(place)
    done = what_is_taken_goes_its_way_and_each_step_is_told(place)
    the_same_key_is_the_same_command_and_for_the_same_thing_only(place, done)
    waiting = one_waits_for_the_other_and_can_be_cancelled_until_then(place)
    devices.do(place.silent.wait_for(1))
    assert place.silent.ids == [waiting]
    the_command_line_does_the_same(place, waiting)


def what_is_refused_is_told_with_field_and_limit_and_never_published(place: Place) -> None:
    commands = place.commands_of(place.device)
    status, problem, _ = call("POST", commands, {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 51}})
    assert (status, problem["field"], problem["value"], problem["limit"], problem["limitOf"]) == (
        422, "parameters.powerLimitKw", 51, 50.0, "limits.maxPowerKw",
    )  # fmt: skip
    assert call("POST", commands, {"command": "EXPLODE"})[1]["field"] == "command"
    assert call("POST", f"{place.api}/devices/{serial_of(place.device)}x/commands", {"command": "REBOOT"})[0] == 404
    assert call("POST", commands, ["REBOOT"])[0] == 400
    assert consume(place.deployment.stack.kafka_bootstrap, DEVICE_COMMANDS) == []


def published(place: Place, count: int) -> list[dict[str, Any]]:
    """The events of commands, once there are so many."""
    records = consume(place.deployment.stack.kafka_bootstrap, DEVICE_COMMAND_EVENTS)
    return [json.loads(record.value) for record in records] if len(records) >= count else []


def what_is_taken_goes_its_way_and_each_step_is_told(place: Place) -> str:
    """The id of the command."""
    status, made, headers = call("POST", place.commands_of(place.device), WANTED, Idempotency_Key="k1")
    command_id: str = made["commandId"]
    assert (status, headers["Location"]) == (202, f"/api/v1/commands/{command_id}")
    eventually(lambda: place.shown(command_id)["final"], 20, "done")
    view = place.shown(command_id)
    # The device's own word may come before the broker's.
    assert [step for step in statuses(view) if step != "DELIVERED"] == [step for step in WELL if step != "DELIVERED"]
    assert (view["executed"], view["requestedBy"], view["requestedFrom"]) == ("yes", "ann", "127.0.0.1 by HTTP")
    assert place.device.ids == [command_id]
    # What is seen live is published with the next commit.
    events = eventually(lambda: published(place, len(statuses(view))), 20, "each step on the topic")
    assert [event["status"] for event in events] == statuses(view)

    def told() -> list[str]:
        found = [each for each in get(f"{place.api}/notifications?limit=500")[1]["notifications"] if each["kind"] == "COMMAND_UPDATE"]
        return [each["data"]["status"] for each in reversed(found) if each["data"]["commandId"] == command_id]

    eventually(lambda: told() == statuses(view), 10, "each step is told")
    return command_id


def the_same_key_is_the_same_command_and_for_the_same_thing_only(place: Place, command_id: str) -> None:
    commands = place.commands_of(place.device)
    status, again, headers = call("POST", commands, WANTED, Idempotency_Key="k1")
    assert (status, again["commandId"], headers["Idempotency-Replayed"]) == (202, command_id, "true")
    status, problem, _ = call("POST", commands, {**WANTED, "parameters": {"powerLimitKw": 41}}, Idempotency_Key="k1")
    assert (status, problem["field"], problem["commandId"]) == (409, "Idempotency-Key", command_id)


def one_waits_for_the_other_and_can_be_cancelled_until_then(place: Place) -> str:
    """The id of the command that is with the device, and is not answered."""
    commands = place.commands_of(place.silent)
    first, second = (call("POST", commands, {"command": "REBOOT"})[1]["commandId"] for _ in range(2))
    eventually(lambda: place.shown(first)["status"] == "DELIVERED", 10, "the broker has the first one")
    status, view, _ = call("POST", f"{place.api}/commands/{second}/cancel", {"requestedBy": "bob"})
    assert (status, view["status"]) == (200, "CANCELLED")
    status, problem, _ = call("POST", f"{place.api}/commands/{first}/cancel")
    assert (status, problem["commandStatus"]) == (409, "DELIVERED")
    assert call("POST", f"{place.api}/commands/{second}x/cancel")[0] == 404
    listed = get(commands)[1]
    assert ([each["commandId"] for each in listed["commands"]], listed["open"]) == ([first, second], 1)
    return str(first)


def the_command_line_does_the_same(place: Place, waiting: str) -> None:
    run, serial = place.deployment.command, serial_of(place.device)
    sent = run("command", "send", serial, "SET_POWER_LIMIT", "--param", "powerLimitKw=30", "--expires-in", "30", "--wait")
    assert [line.split()[3] for line in sent.stdout.splitlines() if "DELIVERED" not in line] == [
        each for each in WELL if each != "DELIVERED"
    ]
    over = run("command", "send", serial, "SET_POWER_LIMIT", "--param", "powerLimitKw=51", check=False)
    assert (over.returncode, over.stdout) == (2, "")
    assert "must be at most 50 kW (limits.maxPowerKw)" in over.stderr
    assert run("command", "cancel", waiting, check=False).returncode == 1
    assert json.loads(run("command", "show", waiting, "--json").stdout)["status"] == "DELIVERED"
    assert run("command", "list", serial).stdout.count("COMPLETED") == 2


def test_commands_outlive_their_worker_and_expire_when_nobody_answers(deployment: Deployment, devices: Devices) -> None:
    deployment.extra |= FAST
    worker = deployment.worker().wait_until_ready()
    for process in (deployment.ingress(), deployment.gateway()):
        process.wait_until_ready()
    api = f"http://127.0.0.1:{deployment.ports.gateway}/api/v1"
    away, silent = devices.add("A"), devices.add("B", answers=())
    eventually(lambda: get(f"{api}/devices/{serial_of(silent)}/commands")[0] == 200, 30, "known")
    devices.do(away.disconnect())
    ids = [
        call("POST", f"{api}/devices/{serial_of(device)}/commands", {"command": "REBOOT", "expiresInS": expires_in_s})[1]["commandId"]
        for device, expires_in_s in ((away, 120), (away, 120), (silent, 8))
    ]
    eventually(lambda: silent.ids, 8, "the silent one has it in time")
    eventually(lambda: get(f"{api}/commands/{ids[0]}")[1]["status"] == "DELIVERED", 20, "the broker has it")
    worker.kill()
    deployment.worker().wait_until_ready()
    devices.do(away.connect())
    eventually(
        lambda: all(get(f"{api}/commands/{each}")[1].get("status") == "COMPLETED" for each in ids[:2]), 30, "both are done, in order"
    )
    assert away.ids == ids[:2]
    eventually(lambda: get(f"{api}/commands/{ids[2]}")[1]["status"] == "EXPIRED", 40, "nobody has answered")
    assert (get(f"{api}/commands/{ids[2]}")[1]["executed"], silent.ids) == ("unknown", [ids[2]])


def test_two_gateways_make_one_command_of_one_key(deployment: Deployment, devices: Devices) -> None:
    """Asked at the same moment for two different things: one of them it is, and who wanted the other is told so."""
    other = Ports.free().gateway
    second = deployment.start("gateway-2", ["gateway"], other, {"EMS_GATEWAY_PORT": str(other)})
    for process in (deployment.worker(), deployment.gateway(), second):
        process.wait_until_ready()
    device = devices.add("A", answers=())
    paths = [f"{process.url}/api/v1/devices/{serial_of(device)}/commands" for process in (deployment.running[-1], second)]
    eventually(lambda: all(get(path)[0] == 200 for path in paths), 30, "known")

    def ask(number: int) -> tuple[int, int, Any]:
        wanted = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": number % 4 // 2}, "expiresInS": 60}
        status, body, _ = call("POST", paths[number % 2], wanted, Idempotency_Key="k1")
        return number % 4 // 2, status, body

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    [command] = get(paths[0])[1]["commands"]
    won = command["parameters"]["powerLimitKw"]
    assert {status for wanted, status, _ in answers if wanted == won} == {202}
    assert {status for wanted, status, _ in answers if wanted != won} == {409}
    assert {body["commandId"] for _, _, body in answers} == {command["commandId"]}
    devices.do(device.wait_for(1))
    assert device.ids == [command["commandId"]]


def test_a_worker_without_mqtt_works_and_says_so(deployment: Deployment) -> None:
    worker = deployment.worker(EMS_MQTT_URL="mqtt://127.0.0.1:9").wait_until_ready()
    status, body = get(f"{worker.url}/readyz")
    check = body["checks"]["commands_mqtt"]
    assert (status, check["ok"]) == (200, False)
    assert "4 of 4 couriers not connected; mqtt://127.0.0.1:9: cannot connect" in check["detail"]

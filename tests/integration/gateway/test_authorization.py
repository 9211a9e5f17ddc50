"""Who may what on a whole system: tokens of two sites against a worker's live tables, alarms, commands, maintenance and the WebSocket."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from confluent_kafka import Producer

from ems_streams.access.token_entries import TokenEntry, hash_of, new_token
from ems_streams.access.token_file import add_token
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.timestamps import format_epoch_ms
from ems_streams.kafka.catalogue import DEVICE_REGISTRY, DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.support.processes import Deployment, eventually

pytestmark = pytest.mark.integration

OWN, OTHER = 8101, 8102
INTERNAL = "an-internal-token-of-this-test"


@dataclass
class Place:
    """A system with a device at each of two sites."""

    deployment: Deployment
    tokens_file: Path
    audit_file: Path

    def __post_init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self._producer = Producer({"bootstrap.servers": self.deployment.stack.kafka_bootstrap})
        self._second = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.deployment.ports.gateway}"

    def serial(self, site: int) -> str:
        return f"{self.deployment.application_id}-{site}"

    def token(self, name: str, role: str, *sites: int) -> None:
        self.tokens[name] = new_token()
        entry = {"name": name, "hash": hash_of(self.tokens[name]), "role": role, "sites": list(sites) or "all"}
        add_token(self.tokens_file, TokenEntry.model_validate(entry))

    def register(self) -> None:
        for site in (OWN, OTHER):
            entry = RegistryEntry(device_id=site, serial_number=self.serial(site), site_id=site, device_type="SOLAR_INVERTER")
            self._produce(DEVICE_REGISTRY, site, entry.encode())

    def send(self, site: int, temperature: float) -> None:
        self._second += 1
        value = {
            "deviceId": site, "serialNumber": self.serial(site), "siteId": site, "deviceType": "SOLAR_INVERTER",
            "telemetryData": {"temperature": temperature, "powerKw": 7.5}, "eventType": "DEVICE_TELEMETRY",
            "timestamp": format_epoch_ms(time.time_ns() // 1_000_000 - 600_000 + self._second * 1000),
        }  # fmt: skip
        self._produce(DEVICE_TELEMETRY, site, orjson.dumps(value))

    def _produce(self, topic: str, site: int, value: bytes) -> None:
        key = self.serial(site).encode()
        self._producer.produce(topic, value, key, partition=partition_for(key, self.deployment.partitions))
        self._producer.flush(10)

    def ask(self, method: str, path: str, name: str | None, body: object = None, base: str | None = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} if method == "POST" else {}
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(name, name)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request((base or self.url) + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                content = response.read()
                return response.status, json.loads(content) if content.startswith((b"{", b"[")) else content.decode()
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, None

    def get(self, path: str, name: str) -> Any:
        status, body = self.ask("GET", path, name)
        assert status == 200, body
        return body

    def alarm(self, site: int) -> Any:
        status, body = self.ask("GET", f"/api/v1/alarms?serial={self.serial(site)}", "admin")
        return body["alarms"][0] if status == 200 and body["alarms"] else None


@pytest.fixture
def place(deployment: Deployment, tmp_path: Path) -> Place:
    made = Place(deployment, tmp_path / "tokens.yaml", tmp_path / "audit.jsonl")
    made.token("admin", "admin")
    made.token("viewer", "viewer", OWN)
    made.token("operator", "operator", OWN)
    made.token("limited-admin", "admin", OWN)
    deployment.extra |= {
        "EMS_GATEWAY_TOKENS_FILE": str(made.tokens_file),
        "EMS_GATEWAY_AUDIT_FILE": str(made.audit_file),
        "EMS_INTERNAL_TOKEN": INTERNAL,
        "EMS_HEARTBEAT_INTERVAL_S": "0.5",
    }
    return made


def test_tokens_of_one_site_on_a_whole_system(place: Place) -> None:
    """One system for all of it, since it takes longer to start than to ask."""
    deployment = place.deployment
    place.register()
    rules = place.tokens_file.with_name("rules.json")
    condition = {"kind": "threshold", "metric": "temperature", "above": 80, "clearAt": 70}
    scope = {"serialNumbers": [place.serial(OWN), place.serial(OTHER)]}
    rule = {"id": f"hot-{deployment.application_id}", "title": "Hot", "severity": "WARNING", "scope": scope, "condition": condition}
    rules.write_text(json.dumps({"rules": [rule]}))
    deployment.command("rules", "apply", str(rules))
    try:
        worker = deployment.worker().wait_until_ready()
        deployment.gateway().wait_until_ready()
        for site in (OWN, OTHER):
            for temperature in (20, 95):
                place.send(site, temperature)
        eventually(lambda: place.alarm(OWN) and place.alarm(OTHER), 40, "both alarms are raised")
        the_worker_answers_nobody_without_the_internal_token(place, worker.url)
        lists_and_counts_are_of_own_sites(place)
        what_is_of_another_site_is_not_there(place)
        dead_letters_and_metrics_are_for_every_site_only(place)
        the_name_of_the_token_says_who(place)
        windows_of_others_are_neither_seen_nor_changed(place)
        asyncio.run(the_websocket_leaks_nothing_and_ends_with_its_token(place))
        the_command_line_shows_its_token(place)
        the_audit_log_has_it(place)
    finally:
        deployment.command("rules", "remove", f"hot-{deployment.application_id}", check=False)


def the_worker_answers_nobody_without_the_internal_token(place: Place, worker: str) -> None:
    paths = ["/internal/v1/devices", "/internal/v1/topology", "/internal/v1/alarms", f"/api/v1/devices/{place.serial(OWN)}"]
    for path in paths:
        assert place.ask("GET", path, None, base=worker)[0] == 401, path
        assert place.ask("GET", path, "admin", base=worker)[0] == 401, path  # a token of the gateway is none here
        assert place.ask("GET", path, INTERNAL, base=worker)[0] == 200, path
    for path in ("/livez", "/readyz", "/startupz", "/metrics"):
        assert place.ask("GET", path, None, base=worker)[0] == 200, path
    # Faust's own views show all data to whoever asks; they are off, also for who has the token.
    for path in ("/table", "/table/", "/table/device-status/", "/router", "/router/", "/graph/", "/stats/"):
        assert place.ask("GET", path, None, base=worker)[0] == 401, path
        assert place.ask("GET", path, INTERNAL, base=worker)[0] == 404, path
    assert place.ask("GET", "/", None, base=worker)[0] == 401  # says that it is there, and nothing else


def lists_and_counts_are_of_own_sites(place: Place) -> None:
    reading: dict[str, Callable[[Any], set[int]]] = {
        "/api/v1/devices": lambda body: {each["siteId"] for each in body["devices"]},
        "/api/v1/sites": lambda body: {each["siteId"] for each in body["sites"]},
        "/api/v1/alarms": lambda body: {each["siteId"] for each in body["alarms"]},
        "/api/v1/notifications": lambda body: {each["siteId"] for each in body["notifications"]},
    }
    for path, sites in reading.items():
        eventually(lambda path=path, sites=sites: {OWN, OTHER} <= sites(place.get(path, "admin")), 20, f"{path} has both")
        for name in ("viewer", "operator", "limited-admin"):
            assert sites(place.get(path, name)) == {OWN}, (path, name)
    assert place.get("/api/v1/pipeline", "viewer")["eventsTotal"] is None
    eventually(lambda: place.get("/api/v1/pipeline", "admin")["eventsTotal"] >= 4, 10, "the ends of topics are looked at every second")


def what_is_of_another_site_is_not_there(place: Place) -> None:
    other, none = place.serial(OTHER), place.serial(0)
    ids = [place.alarm(OTHER)["alarmId"], "f" * 32]
    pairs = [
        *(("GET", f"/api/v1/devices/{{}}{rest}", other, none) for rest in ("", "/aggregates", "/commands", "/status-events")),
        *(("GET", f"/api/v1/sites/{{}}{rest}", str(OTHER), "8103") for rest in ("", "/aggregates")),
        ("POST", "/api/v1/devices/{}/commands", other, none),
        ("GET", "/api/v1/commands/{}~k", other, none),
        ("POST", "/api/v1/commands/{}~k/cancel", other, none),
        ("GET", "/api/v1/alarms/{}", *ids),
        ("POST", "/api/v1/alarms/{}/ack", *ids),
    ]
    for method, path, theirs, nobodys in pairs:
        body = {"command": "REBOOT"} if path.endswith("/commands") and method == "POST" else None
        found, missing = (place.ask(method, path.format(each), "operator", body) for each in (theirs, nobodys))
        assert (found[0], missing[0]) == (404, 404), path
        for each in (found, missing):
            each[1].pop("requestId", None)  # differs for all
        assert json.dumps(found[1]).replace(theirs, nobodys) == json.dumps(missing[1]), path
    for path in (f"/api/v1/devices/{place.serial(OWN)}", f"/api/v1/sites/{OWN}", f"/api/v1/devices/{place.serial(OWN)}/aggregates"):
        assert place.ask("GET", path, "viewer")[0] == 200, path


def dead_letters_and_metrics_are_for_every_site_only(place: Place) -> None:
    for path in ("/api/v1/dlt", "/api/v1/redrives", "/metrics"):
        assert [place.ask("GET", path, name)[0] for name in ("viewer", "limited-admin", "admin")] == [403, 403, 200], path


def the_name_of_the_token_says_who(place: Place) -> None:
    own = place.alarm(OWN)["alarmId"]
    assert place.ask("POST", f"/api/v1/alarms/{own}/ack", "viewer", {"by": "Ann"})[0] == 403
    status, alarm = place.ask("POST", f"/api/v1/alarms/{own}/ack", "operator", {"by": "Ann", "comment": "On my way"})
    assert (status, alarm["acknowledgedBy"]) == (200, "operator")
    commands = f"/api/v1/devices/{place.serial(OWN)}/commands"
    assert place.ask("POST", commands, "viewer", {"command": "REBOOT"})[0] == 403
    status, command = place.ask("POST", commands, "operator", {"command": "REBOOT", "requestedBy": "Ann"})
    assert (status, command["requestedBy"]) == (202, "operator")
    assert place.ask("GET", f"/api/v1/commands/{command['commandId']}", "viewer")[0] == 200


def windows_of_others_are_neither_seen_nor_changed(place: Place) -> None:
    windows, until = "/api/v1/maintenance-windows", {"endsAt": "2099-01-01T00:00:00Z"}
    both, theirs = (place.ask("POST", windows, "admin", {"sites": sites} | until)[1] for sites in ([OWN, OTHER], [OTHER]))
    denied = [
        {"sites": [OTHER]},
        {"sites": [OWN, OTHER]},
        {"devices": [place.serial(OTHER)]},
        {"devices": ["X"]},
        {"deviceTypes": ["METER"]},
    ]
    for wanted in denied:
        assert place.ask("POST", windows, "operator", wanted | until)[0] == 403, wanted
    status, own = place.ask("POST", windows, "operator", {"devices": [place.serial(OWN)], "createdBy": "Ann"} | until)
    assert (status, own["createdBy"]) == (201, "operator")
    assert place.ask("POST", windows, "operator", {"sites": [OWN], "windowId": theirs["windowId"]} | until)[0] == 409
    seen = {each["windowId"]: each for each in place.get(windows, "operator")["windows"]}
    assert {both["windowId"], own["windowId"]} <= seen.keys()
    assert theirs["windowId"] not in seen
    assert seen[both["windowId"]]["sites"] == [OWN]
    assert [place.ask("DELETE", f"{windows}/{each['windowId']}", "operator")[0] for each in (theirs, both, own)] == [404, 403, 200]
    assert [place.ask("DELETE", f"{windows}/{each['windowId']}", "admin")[0] for each in (theirs, both)] == [200, 200]


async def the_websocket_leaks_nothing_and_ends_with_its_token(place: Place) -> None:
    start = (await asyncio.to_thread(place.get, "/api/v1/notifications?limit=500", "admin"))["notifications"]
    before = {each["notificationId"] for each in start if each["siteId"] == OWN}
    async with aiohttp.ClientSession(place.url) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/ws/notifications")
        assert caught.value.status == 401
        headers = {"Authorization": f"Bearer {place.tokens['viewer']}"}
        # A cursor of the very beginning: everything is read back, and all but the own site is left out.
        oldest = _cursor_of_the_beginning(place.deployment.partitions)
        async with client.ws_connect(f"/ws/notifications?since={oldest}", headers=headers) as socket:
            for site in (OTHER, OWN):
                # Cleared and raised again.
                for temperature in (20, 96):
                    await asyncio.to_thread(place.send, site, temperature)
            seen: list[dict[str, Any]] = []
            async with asyncio.timeout(30):
                while sum(each["kind"] == "ALARM_RAISED" for each in seen if each["notificationId"] not in before) < 1:
                    seen.append((await socket.receive_json())["notification"])
            assert before <= {each["notificationId"] for each in seen}
            assert {each["siteId"] for each in seen} == {OWN}
            lines = place.tokens_file.read_text()
            place.tokens_file.write_text(lines.replace(hash_of(place.tokens["viewer"]), hash_of(new_token())))
            async with asyncio.timeout(10):
                while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    assert json.loads(message.data)["notification"]["siteId"] == OWN
            assert message.data == 4401
            place.tokens_file.write_text(lines)


def _cursor_of_the_beginning(partitions: int) -> str:
    from ems_streams.gateway.cursors import encode_feed

    return encode_feed([0] * partitions)


def the_command_line_shows_its_token(place: Place) -> None:
    deployment, serial = place.deployment, place.serial(OWN)
    arguments = ("command", "list", serial, "--gateway", place.url)
    refused = deployment.command(*arguments, check=False)
    assert (refused.returncode, "Set EMS_GATEWAY_TOKEN or EMS_GATEWAY_TOKEN_FILE" in refused.stderr) == (1, True)
    secret = place.tokens_file.with_name("secret")
    secret.write_text(place.tokens["viewer"] + "\n")
    deployment.extra["EMS_GATEWAY_TOKEN_FILE"] = str(secret)
    eventually(lambda: serial in deployment.command(*arguments, check=False).stdout, 10, "the commands are listed")
    refused = deployment.command("command", "send", serial, "REBOOT", "--gateway", place.url, check=False)
    assert (refused.returncode, "This needs the role operator; viewer has the role viewer." in refused.stderr) == (1, True)


def the_audit_log_has_it(place: Place) -> None:
    lines = [json.loads(line) for line in place.audit_file.read_text().splitlines()]
    done = {(each["who"], each["method"], each["route"]) for each in lines if each["outcome"] == "done"}
    assert {
        ("operator", "POST", "/api/v1/alarms/{alarmId}/ack"),
        ("operator", "POST", "/api/v1/devices/{serial}/commands"),
        ("operator", "POST", "/api/v1/maintenance-windows"),
        ("operator", "DELETE", "/api/v1/maintenance-windows/{windowId}"),
    } <= done
    denied = {(each["who"], each["status"]) for each in lines if each["outcome"] == "denied"}
    assert {("viewer", 403), ("operator", 404), ("limited-admin", 403), ("nobody", 401)} <= denied
    text = place.audit_file.read_text() + "".join(path.read_text(errors="replace") for path in place.deployment.directory.rglob("*.log"))
    assert not [name for name, token in place.tokens.items() if token in text]
    assert INTERNAL not in text

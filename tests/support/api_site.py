"""A gateway with a worker behind it and something of everything in it: devices, windows, an alarm, commands, dead letters, a maintenance window."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

from aiokafka import AIOKafkaProducer

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.events import format_time
from ems_streams.domain.registry import RegistryEntry
from ems_streams.kafka.catalogue import ALARM_RULES, DEVICE_REGISTRY, DEVICE_TELEMETRY
from ems_streams.kafka.partitioner import partition_for
from tests.support.dead_letters import letter_of, put, telemetry_value
from tests.support.processes import Deployment, eventually, get

SITE_ID = 7


@dataclass
class Answer:
    """What a request was answered with."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ApiSite:
    """The site; `device` and `alarm_id` name what can be asked for."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.device = f"{deployment.application_id}-INV"
        self.alarm_id = ""
        self.command_id = ""
        self.letter = ""
        # All that is asked for is asked by one address.
        deployment.extra |= {"EMS_GATEWAY_REQUESTS_PER_S": "0", "EMS_GATEWAY_WRITES_PER_S": "0"}
        deployment.worker()
        self.gateway = deployment.gateway()

    @property
    def url(self) -> str:
        return self.gateway.url

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Any request."""
        data = None if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def fill(self) -> None:
        """Put everything in, and wait until it is shown."""
        asyncio.run(self._send())
        letters = [letter_of(DEVICE_TELEMETRY, self.device.encode(), telemetry_value(self.device, second=each), error_class="invalid_json", stage="ingress")
                   for each in range(3)]  # fmt: skip
        put(self.deployment.stack.kafka_bootstrap, letters)
        alarms = eventually(lambda: self.ask("GET", f"/api/v1/alarms?serial={self.device}").json.get("alarms"), 60, "an alarm is shown")
        self.alarm_id = alarms[0]["alarmId"]
        until = format_time(datetime.now(UTC) + timedelta(hours=1))
        self.ask("POST", "/api/v1/maintenance-windows", {"windowId": f"mw-{self.device}", "devices": [self.device], "endsAt": until})
        command = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 5}, "idempotencyKey": "one"}
        self.command_id = eventually(lambda: self._command(command), 30, "a command is taken")
        page = eventually(lambda: self.ask("GET", "/api/v1/dlt/device-telemetry-dlt?limit=1").json.get("letters"), 30, "letters are shown")
        self.letter = page[0]["id"]
        eventually(lambda: get(f"{self.url}/api/v1/notifications")[1].get("notifications"), 30, "notifications are shown")

    def _command(self, body: Any) -> str | None:
        answer = self.ask("POST", f"/api/v1/devices/{self.device}/commands", body)
        return str(answer.json["commandId"]) if answer.status == 202 else None

    async def _send(self) -> None:
        entry = RegistryEntry(
            device_id=17, serial_number=self.device, site_id=SITE_ID, device_type="SOLAR_INVERTER", limits={"maxPowerKw": 50.0}
        )
        rule = AlarmRule.model_validate_json(
            json.dumps(
                {
                    "id": f"hot-{self.deployment.application_id}", "title": "Hot", "severity": "WARNING", "scope": {"serialNumbers": [self.device]},
                    "condition": {"kind": "threshold", "metric": "temperature", "above": 80, "clearAt": 70},
                }
            )
        )  # fmt: skip
        key, partitions = self.device.encode(), self.deployment.partitions
        async with AIOKafkaProducer(bootstrap_servers=self.deployment.stack.kafka_bootstrap, acks="all") as producer:
            for number in range(partitions):
                await producer.send(ALARM_RULES, rule.encode(), key=rule.key, partition=number)
            await producer.send(DEVICE_REGISTRY, entry.encode(), key=key, partition=partition_for(key, partitions))
            await producer.flush()
            begin_s = int(time.time()) - 400
            for number in range(300):
                event = {
                    "deviceId": 17, "serialNumber": self.device, "siteId": SITE_ID, "deviceType": "SOLAR_INVERTER",
                    "telemetryData": {"powerKw": 40.0 + number % 5, "temperature": 60.0 + number / 10},
                    "timestamp": format_time(datetime.fromtimestamp(begin_s + number, UTC)), "eventType": "DEVICE_TELEMETRY",
                }  # fmt: skip
                await producer.send(DEVICE_TELEMETRY, json.dumps(event).encode(), key=key, partition=partition_for(key, partitions))
            await producer.flush()

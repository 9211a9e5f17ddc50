"""Commands as the EMS sends them, straight over MQTT with QoS 2, and the devices' own log of what became of them."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import mqtt5
import orjson

from ems_streams.dev.simulator import read_command_log
from ems_streams.dev.simulator.wire import format_ms
from ems_streams.mqtt.endpoint import parse_url

DEADLINE_S = 30.0


class Sender:
    """Publishes commands on one connection; nothing is ever sent again, so what is executed twice is so by others."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def send(
        self, site_id: int, serial_number: str, command: str, *, command_id: str = "", expires_in_s: float = 60.0, **parameters: Any
    ) -> str:
        """Send a command; returns its id when the broker has it for good."""
        command_id = command_id or f"{serial_number}~{uuid4().hex[:16]}"
        now_ms = time.time_ns() // 1_000_000
        topic = f"sites/{site_id}/devices/{serial_number}/commands"
        body = {
            "commandId": command_id,
            "command": command,
            "parameters": parameters,
            "requestedAt": format_ms(now_ms),
            "expiresAt": format_ms(now_ms + int(expires_in_s * 1000)),
        }
        packet_id = next(self._client.packet_ids)
        await self._client.publish(
            topic,
            orjson.dumps(body),
            qos=mqtt5.QoS.EXACTLY_ONCE,
            packet_id=packet_id,
            message_expiry_interval=max(1, int(expires_in_s)),
            response_topic=f"{topic}/ack",
            correlation_data=command_id.encode(),
        )
        await self._client.pubrel(packet_id)
        return command_id


@contextlib.asynccontextmanager
async def sender(mqtt_url: str) -> AsyncIterator[Sender]:
    """A connection to send commands on; it does not come back when it is lost."""
    endpoint, _ = parse_url(mqtt_url)
    async with aiomqtt.Client(
        hostname=endpoint.host, port=endpoint.port, identifier=f"sender-{uuid4().hex[:8]}", clean_start=True
    ) as client:
        yield Sender(client)


class DeviceLog:
    """The devices' own log, read from its beginning each time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, *events: str, command_id: str = "") -> list[dict[str, Any]]:
        """Lines of some events, of one command or of all."""
        if not self.path.exists():
            return []
        return [
            line
            for line in read_command_log(self.path)
            if (not events or line["event"] in events) and (not command_id or line.get("commandId") == command_id)
        ]

    def executions(self) -> Counter[str]:
        """How often each command was executed."""
        return Counter(line["commandId"] for line in self.lines("EXECUTED"))

    async def until(self, condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
        """The first true value of a condition; fails with the end of the log."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}; {self.lines()[-10:]}"
            await asyncio.sleep(0.05)
        return value

"""Listens in on commands with QoS 0: what is published is seen at most once, and not again when the broker repeats itself."""

import asyncio
import json
import threading
from collections import Counter
from typing import Self
from uuid import uuid4

import mqtt5

from ems_streams.mqtt.connection import CONNECT_TIMEOUT_S, FAILURES, Connection
from ems_streams.mqtt.endpoint import parse_url

PATTERN = "sites/+/devices/+/commands"
_AGAIN_AFTER_S = 0.2


class Tap:
    """How often each command was seen to be published. A command that is published while the broker is killed may not be seen. Use as a context manager."""

    def __init__(self, mqtt_url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._endpoint, self._login = parse_url(mqtt_url)
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30.0)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            connection = Connection(
                self._endpoint,
                self._login,
                f"tap-{uuid4().hex[:8]}",
                clean_start=True,
                session_expiry_s=0,
                keep_alive_s=5,
                on_message=self._take,
            )
            try:
                await connection.open(CONNECT_TIMEOUT_S)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await connection.subscribe(PATTERN, max_qos=mqtt5.QoS.AT_MOST_ONCE, retain_handling=mqtt5.RetainHandling.SEND_NEVER)
                self._ready.set()
                lost = asyncio.create_task(connection.lost())
                while not lost.done() and not self._stopping.is_set():
                    await asyncio.wait((lost,), timeout=0.5)
                lost.cancel()
            except (TimeoutError, *FAILURES):
                pass
            finally:
                await connection.close()
            await asyncio.sleep(_AGAIN_AFTER_S)

    def _take(self, packet: mqtt5.PublishPacket) -> None:
        self.seen[json.loads(packet.payload)["commandId"]] += 1

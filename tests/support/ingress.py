"""An ingress process for tests, and a reader of what it writes."""

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ems_streams.settings import Settings

PARTITIONS = 4
DEADLINE_S = 60.0


class IngressProcess:
    """`ems-streams ingress` in a process of its own, with a session of its own."""

    def __init__(self, settings: Settings, log_file: Path) -> None:
        self.settings = settings
        self._log_file = log_file
        self._popen: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "EMS_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "EMS_MQTT_URL": str(settings.mqtt_url),
            "EMS_INGRESS_ID": settings.ingress_id,
            "EMS_INGRESS_PORT": str(settings.ingress_port),
            "EMS_MQTT_SHARE_GROUP": settings.mqtt_share_group,
        }

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    async def start(self, *, wait_ready: bool = True) -> None:
        with self._log_file.open("ab") as log:
            self._popen = subprocess.Popen([sys.executable, "-m", "ems_streams", "ingress"], env=self._environment, stdout=log, stderr=log)
        if wait_ready:
            await until(self.ready, lambda: f"the ingress is not ready:\n{self.log}")

    async def ready(self) -> bool:
        status, _ = await self.readiness()
        return status == 200

    async def readiness(self) -> tuple[int, dict[str, bool]]:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.settings.ingress_port}/readyz") as answer,
            ):
                checks = (await answer.json())["checks"]
                return answer.status, {name: check["ok"] for name, check in checks.items()}
        except aiohttp.ClientError:
            return 0, {}

    def kill(self) -> None:
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    async def terminate(self) -> int:
        assert self._popen is not None
        self._popen.terminate()
        return await asyncio.to_thread(self._popen.wait, 30)

    def end(self) -> None:
        if self._popen is not None and self._popen.poll() is None:
            self.kill()


class TopicReader:
    """Records of some topics whose key begins with a prefix, from the moment of the test's start."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest", max_partition_fetch_bytes=16 << 20
        )

    async def start(self, topics: tuple[str, ...]) -> None:
        await self._consumer.start()
        partitions = [TopicPartition(topic, number) for topic, number in itertools.product(topics, range(PARTITIONS))]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            await self._consumer.position(partition)

    async def read(self, enough: Callable[[list["ConsumerRecord[bytes, bytes]"]], bool]) -> list["ConsumerRecord[bytes, bytes]"]:
        """Everything until there is enough, and a moment longer, so that what is too much shows as well."""
        records: list[ConsumerRecord[bytes, bytes]] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                while not enough(records):
                    records += await self.poll(200)
        return records + await self.poll(500)

    async def poll(self, timeout_ms: int) -> list["ConsumerRecord[bytes, bytes]"]:
        """What is new, after at most so long."""
        polled = await self._consumer.getmany(timeout_ms=timeout_ms)
        return [record for records in polled.values() for record in records]

    async def stop(self) -> None:
        await self._consumer.stop()


async def until(condition: Callable[[], Awaitable[bool]], message: Callable[[], str]) -> None:
    """Wait for a condition; fails with the message after `DEADLINE_S`."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(message())

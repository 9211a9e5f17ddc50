"""Asks Kafka every few seconds whether it is there, so that readiness knows even when nothing is being written."""

import asyncio
import contextlib

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from ems_streams.kafka.client import client_options
from ems_streams.kafka.refusals import refusal_of
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
ANSWER_TIMEOUT_S = 4.0


class KafkaProbe:
    """Whether the brokers answer a metadata request, as of a few seconds ago; read it from memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers = settings.kafka_bootstrap_servers
        self._task: asyncio.Task[None] | None = None
        self.reachable = True
        self.detail = self._servers

    def start(self) -> None:
        """Begin asking."""
        self._task = asyncio.create_task(self._ask_for_ever(), name="kafka-probe")

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask_for_ever(self) -> None:
        while True:
            try:
                async with self._client() as client:
                    while True:
                        async with asyncio.timeout(ANSWER_TIMEOUT_S):
                            await client.fetch_all_metadata()
                        self._found(True, self._servers)
                        await asyncio.sleep(INTERVAL_S)
            except (KafkaError, OSError, TimeoutError) as error:
                self._found(False, refusal_of(self._settings) or f"{self._servers}: {error!r}")
                await asyncio.sleep(INTERVAL_S)

    @contextlib.asynccontextmanager
    async def _client(self):  # type: ignore[no-untyped-def]  # an async iterator of aiokafka's untyped client
        client = AIOKafkaClient(**client_options(self._settings), client_id="ems-probe")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await client.bootstrap()
            yield client
        finally:
            await client.close()

    def _found(self, reachable: bool, detail: str) -> None:
        if reachable is not self.reachable:
            log.warning("kafka_reachable" if reachable else "kafka_unreachable", detail=detail)
        self.reachable = reachable
        self.detail = detail

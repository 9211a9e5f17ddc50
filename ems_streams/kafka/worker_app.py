"""The Faust app of a worker: Faust's settings from ours, raw messages, and one way to end it when something is wrong."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, TypeVar, cast

import faust
from faust.serializers.schemas import Schema
from faust.types import TP

from ems_streams.kafka.engine import BatchAgent, Engine
from ems_streams.kafka.probe import KafkaProbe
from ems_streams.kafka.recovery import Recovery, TableManager
from ems_streams.kafka.security import faust_credentials
from ems_streams.kafka.transport import Consumer
from ems_streams.kafka.watchdog import Watchdog
from ems_streams.settings import Settings

S = TypeVar("S")

MAX_POLL_INTERVAL_S = 7 * 86_400.0


class RawSchema(Schema):
    """Hands messages to agents as they are: batches are decoded, once, by the agents."""

    def compile(self, app: Any, **_: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, message.headers, message)

        return decode


class WorkerApp(faust.App):
    """The Faust app of a worker, with its settings and its engine.

    Attributes:
        failure: The error that ended the worker, if any.
        on_recovered: Called whenever an assignment is recovered and the streams run.
    """

    logger = logging.getLogger("faust.app")
    failure: BaseException | None = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.application_id, **_faust_settings(settings))
        self.settings = settings
        self.on_recovered: Callable[[], None] = lambda: None
        self.kafka = KafkaProbe(settings)
        self.watchdog = Watchdog(self, settings.stall_timeout_s)
        self.engine = Engine(settings, fail=self.fail, restart=self.recover_again)

    def add_batch_agent(self, agent: BatchAgent[S]) -> None:
        """Register a Faust agent that hands every record batch of its source topics to the engine."""
        self.engine.add(agent)

        async def process(stream: faust.StreamT[Any]) -> None:
            async for event in stream.events():
                await self.engine.process(agent, event)

        process.__doc__ = agent.fold.__doc__
        # Always named: Faust's default is the module path, and it names topics.
        self.agent(self.topic(*agent.sources, schema=RawSchema()), name=agent.name, concurrency=1)(process)

    @property
    def batch_consumer(self) -> Consumer:
        """The consumer of our transport."""
        return cast(Consumer, self.consumer)

    @property
    def lags(self) -> Mapping[TP, int]:
        """Offsets from what is durable to the end of each source partition, as of a few seconds ago; empty before the first assignment."""
        return self.batch_consumer.lags if self._consumer is not None else {}

    @property
    def outside_group(self) -> bool:
        """Whether the group has given this worker's partitions away and nothing new is assigned yet."""
        return self._recovery.outside_group

    @property
    def _recovery(self) -> Recovery:
        return cast(Recovery, cast(TableManager, self.tables).recovery)

    def recover_again(self) -> None:
        """Stop handing records out, forget what is under way, and recover every partition as after a rebalance."""
        self.consumer.stop_flow()
        self.flow_control.suspend()
        self.flow_control.clear()
        self._recovery.again()

    async def fail(self, error: BaseException) -> None:
        """End the worker: what is in memory only is replayed by whoever gets its partitions."""
        if self.failure is None:
            self.failure = error
            await self.crash(error)


def _faust_settings(settings: Settings) -> Mapping[str, Any]:
    servers = settings.kafka_bootstrap_servers.split(",")
    return {
        "broker_consumer": ";".join(f"ems://{server.strip()}" for server in servers),
        "broker_producer": ";".join(f"kafka://{server.strip()}" for server in servers),
        "broker": ";".join(f"ems://{server.strip()}" for server in servers),
        "broker_credentials": faust_credentials(settings),
        "TableManager": TableManager,
        "store": "ems-rocksdb://",
        "datadir": settings.worker_data_dir,
        "autodiscover": False,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication_factor,
        # Topics are created by `topics apply` from the catalogue, never by a worker.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": settings.standby_replicas,
        "consumer_group_instance_id": f"{settings.application_id}-{settings.worker_id}",
        "broker_session_timeout": settings.kafka_session_timeout_s,
        "broker_heartbeat_interval": settings.kafka_heartbeat_interval_s,
        "broker_rebalance_timeout": settings.kafka_rebalance_timeout_s,
        "broker_request_timeout": settings.kafka_request_timeout_s,
        "producer_request_timeout": settings.kafka_request_timeout_s,
        # Nothing is polled during a recovery or an outage, and the client would not join the group again after that. Our own watchdog
        # ends a worker that is stuck.
        "broker_max_poll_interval": MAX_POLL_INTERVAL_S,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": 1024 * 1024,
        # Batches, not records: more would only be memory that a rebalance throws away.
        "stream_buffer_maxsize": 4,
        "stream_wait_empty": True,
        "web_bind": settings.bind_host,
        "web_port": settings.worker_port,
        "web_host": settings.bind_host,
        "canonical_url": settings.worker_url,
        # Faust's own views show all data to whoever asks.
        "web_router_enabled": False,
        "web_tables_enabled": False,
        "web_graph_enabled": False,
        "web_stats_enabled": False,
        "web_metrics_enabled": False,
        "worker_redirect_stdouts": False,
        "timezone": UTC,
    }

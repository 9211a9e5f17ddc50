"""Apache Kafka as a single KRaft node: broker and controller in one process."""

import asyncio
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from ems_streams.dev.kafka_security import BROKER_USER, KafkaSecurity, logs_in, set_users
from ems_streams.dev.ports import LOOPBACK
from ems_streams.dev.private_files import write_private
from ems_streams.dev.process import Command
from ems_streams.dev.server import Server, run_tool

_FORMAT_TIMEOUT_S = 60.0
# The quick compiler alone takes a quarter of the CPU time off a start; the servers are never the bottleneck here.
_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1")

_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.clients.name = org.apache.kafka.clients
logger.clients.level = warn
"""
_AUDIT = """\
logger.audit.name = kafka.authorizer.logger
logger.audit.level = debug
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """One more port of the broker, for clients that reach it another way.

    Attributes:
        port: Where the broker listens.
        advertised_port: Where the clients of this listener are sent, such as a proxy's port.
    """

    port: int
    advertised_port: int


class Kafka(Server):
    """Kafka 4.3 with the guarantees of a real cluster but the replication: one broker, replication factor 1.

    Topics are never created by use. Messages of up to 6 MiB; group sessions from 1 s on; transactions.

    Args:
        controller_port: Second port, for the controller role.
        java: Java binary.
        class_path: Kafka's jars, as `java -cp` wants them.
        listeners: More listeners; none by default.
        security: TLS, users and ACLs; without it everybody who reaches the port may do everything.
    """

    name = "kafka"

    def __init__(
        self,
        port: int,
        controller_port: int,
        data_dir: Path,
        java: Path,
        class_path: str,
        *,
        listeners: Sequence[Listener] = (),
        security: KafkaSecurity | None = None,
    ) -> None:
        super().__init__(port, data_dir)
        self._controller_port = controller_port
        self._java = java
        self._class_path = class_path
        self._listeners = tuple(listeners)
        self.security = security
        self._broker_password = ""
        self._users_are_set = False

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    async def _prepare(self) -> None:
        # Clients' ports may be moved between two starts on the same data: the configuration is written anew each time.
        self._broker_password = secrets.token_urlsafe(32)
        self._users_are_set = False
        if self.security is not None:
            self.security.write_stores(self.directory)
        # Java reads such files as Latin-1; a path may have any letters.
        write_private(self._properties_path, self._properties().encode("latin-1", "backslashreplace"))
        self._log4j_path.write_text(_LOG4J + (_AUDIT if self.security is not None and self.security.audit else ""))
        if not (self._log_dir / "meta.properties").exists():
            cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # A cluster id may not start with a dash: the tool takes it for an option.
            arguments = ("format", "--cluster-id", "e" + cluster_id[1:], "--config", str(self._properties_path), "--ignore-formatted")
            await run_tool(
                self._java_command("kafka.tools.StorageTool", *arguments, log_name="kafka-format"), "kafka format", _FORMAT_TIMEOUT_S
            )

    def _command(self) -> Command:
        return self._java_command("kafka.Kafka", str(self._properties_path), log_name="kafka")

    async def _answers(self) -> bool:
        if self.security is not None:
            return await self._takes_users(self.security)
        from aiokafka.client import AIOKafkaClient
        from aiokafka.errors import KafkaError

        client = AIOKafkaClient(bootstrap_servers=self.bootstrap, request_timeout_ms=2000, client_id="ems-dev")
        try:
            await client.bootstrap()
            return len(client.cluster.brokers()) > 0
        except (KafkaError, OSError):
            return False
        finally:
            await client.close()

    async def _takes_users(self, security: KafkaSecurity) -> bool:
        """Whether the broker is there, and users can log in with the passwords of now."""
        if not await logs_in(security, self.port, "PLAIN", BROKER_USER, self._broker_password):
            return False
        if not security.users:
            return True
        if not self._users_are_set:
            self._users_are_set = await asyncio.to_thread(set_users, security, self.port, self._broker_password)
        # All are set at once, so that one is as good as another to see whether the broker has learnt of it.
        user, password = next(iter(security.users.items()))
        return self._users_are_set and await logs_in(security, self.port, "SCRAM-SHA-512", user, password)

    @property
    def _log_dir(self) -> Path:
        return self.directory / "data"

    @property
    def _properties_path(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _log4j_path(self) -> Path:
        return self.directory / "log4j2.properties"

    def _java_command(self, main: str, *arguments: str, log_name: str) -> Command:
        return Command(
            argv=(
                str(self._java), *_JVM, f"-Dlog4j2.configurationFile={self._log4j_path}", "-Djava.awt.headless=true",
                "-cp", self._class_path, main, *arguments,
            ),
            log_path=self.data_dir / "logs" / f"{log_name}.log",
            pid_path=self.data_dir / "run" / f"{log_name}.pid",
            cwd=self.directory,
        )  # fmt: skip

    def _properties(self) -> str:
        template = Template(files("ems_streams.dev.resources").joinpath("kafka.properties").read_text(encoding="utf-8"))
        security, protocol = self.security, "PLAINTEXT" if self.security is None else "SASL_SSL"
        more = [(f"MORE{number}", each.port, each.advertised_port, protocol) for number, each in enumerate(self._listeners)]
        if security is not None:
            more += [(name, port, port, "SSL") for name, port in security.listeners()]
        return template.substitute(
            port=self.port,
            controller_port=self._controller_port,
            data=self._log_dir,
            clients="PLAINTEXT" if security is None else "CLIENTS",
            protocol=protocol,
            more_listeners="".join(f",{name}://{LOOPBACK}:{port}" for name, port, _, _ in more),
            more_advertised="".join(f",{name}://{LOOPBACK}:{advertised}" for name, _, advertised, _ in more),
            more_protocols="".join(f",{name}:{protocol}" for name, _, _, protocol in more),
            security="" if security is None else security.properties(self.directory, self._broker_password, len(self._listeners)),
        )

"""Checks of Kafka: can it be reached, by its advertised addresses as well, is it new enough, are the topics there and allowed."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from ems_streams.errors import EmsError
from ems_streams.kafka.admin import catalogue_of, client_config, find_unknown_topics, list_topics, plan_topics
from ems_streams.kafka.client import client_options
from ems_streams.kafka.own_rights import who
from ems_streams.kafka.refusals import KafkaRefusedError, why_unreachable
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.topic_findings import MIN_IN_SYNC, plan_findings, replica_findings, right_findings
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.kafka_security import role_of
from ems_streams.settings import Settings

CONNECT_TIMEOUT_S = 5.0
_SETTING = "EMS_KAFKA_BOOTSTRAP_SERVERS"
_OPERATIONS = ("DESCRIBE", "READ", "WRITE")
# What a version of Kafka was the first to speak: API key, version of it, version of Kafka.
_MARKS = ((2, 10, "4.0"), (2, 9, "3.9"), (2, 8, "3.5"), (2, 7, "3.0"), (44, 0, "2.3"))


async def reach(host: str, port: int, setting: str, server: str = "kafka") -> Finding | None:
    """What keeps a connection to an address from being made; None when nothing does."""
    address = f"{host}:{port}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        return finding("dns-unknown", f"{host} has no address", found=str(error), expected=f"an address for {host}", setting=setting)
    except ConnectionRefusedError:
        return finding(
            f"{server}-refused", f"nothing listens at {address}", found="connection refused", expected="a listener", setting=setting
        )
    except (OSError, TimeoutError) as error:
        found = str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s"
        return finding(
            f"{server}-silent", f"{address} does not answer", found=found, expected="a connection", setting=setting, address=address
        )
    writer.close()
    return None


async def check_kafka(context: Context) -> Report:
    """Every bootstrap server, every broker by its advertised address, and what they can."""
    settings = context.settings
    servers = [_address(server) for server in settings.kafka_bootstrap_servers.split(",")]
    findings = [each for each in await asyncio.gather(*(reach(*server, _SETTING) for server in servers)) if each is not None]
    if len(findings) == len(servers):
        return Report(findings, {"servers": settings.kafka_bootstrap_servers}, usable=False)
    client = AIOKafkaClient(**{**client_options(settings), "request_timeout_ms": int(CONNECT_TIMEOUT_S * 1000)}, client_id="ems-doctor")
    try:
        await client.bootstrap()
        brokers = list(client.cluster.brokers())
        versions = await _versions(client)
    except (KafkaError, OSError, AssertionError, ValueError) as error:
        return Report([*findings, await _unusable(settings, error)], usable=False)
    finally:
        await client.close()
    hidden = [each for each in await asyncio.gather(*map(_advertised, brokers)) if each is not None]
    findings += [*hidden, *_abilities(versions, len(brokers), settings)]
    facts = {"brokers": len(brokers), "kafka": f"{_at_least(versions)} or later", "servers": settings.kafka_bootstrap_servers}
    return Report(findings, facts, usable=len(hidden) < len(brokers))


async def _unusable(settings: Settings, error: BaseException) -> Finding:
    """Of servers that take connections, and no client of ours."""
    servers = settings.kafka_bootstrap_servers
    refused = await why_unreachable(settings)
    if not isinstance(refused, KafkaRefusedError):
        # It has not even closed the connection, as whoever speaks something else does, or does not know us: a broker that hangs.
        what = f"{servers} takes connections, and does not answer as Kafka does"
        return finding("kafka-silent", what, found=repr(error), expected="Kafka's protocol", setting=_SETTING, address=servers)
    if settings.kafka_security_protocol != "PLAINTEXT":
        return finding("kafka-credentials", f"Kafka does not let {who(settings)} in", found=str(refused), expected="to be let in")
    what = f"what answers at {servers} is not this Kafka"
    return finding("kafka-not-kafka", what, found=repr(error), expected="Kafka's protocol", setting=_SETTING)


async def check_topics(context: Context) -> Report:
    """The cluster beside the catalogue."""
    settings = context.settings
    plans, unknown, topics = await asyncio.gather(plan_topics(settings), find_unknown_topics(settings), list_topics(settings))
    ours = {each.name: each for each in topics if each.topic is not None}
    replicas = {
        name: [(part.partition, part.leader, len(part.replicas), len(part.in_sync)) for part in each.partitions]
        for name, each in ours.items()
    }
    min_in_sync = {name: int(text) for name, each in ours.items() if (text := each.config.get(MIN_IN_SYNC, "1")).isdigit()}
    findings = [*plan_findings(plans, unknown, settings.partitions), *replica_findings(replicas, min_in_sync)]
    counts = sorted({len(each.partitions) for each in ours.values() if each.topic is not None and each.topic.partitions > 1})
    facts = {"topics": f"{len(ours)} of {len(plans)}", "partitions": ", ".join(map(str, counts)), "unknown": len(unknown)}
    return Report(findings, facts, usable=bool(ours))


async def check_rights(context: Context) -> Report:
    """What Kafka allows to the user of the settings, as far as it says; for a principal of ours see `check_acls`."""
    if role_of(context.settings) is not None:
        return Report(facts={"topics": "see acls"})
    allowed = await asyncio.to_thread(_allowed, context.settings)
    known = sum(operations is not None for operations in allowed.values())
    return Report(list(right_findings(allowed, _OPERATIONS)), {"topics": known})


def _allowed(settings: Settings) -> dict[str, list[str] | None]:
    admin = AdminClient(client_config(settings))
    present = admin.list_topics(timeout=CONNECT_TIMEOUT_S).topics
    names = [topic.name for topic in catalogue_of(settings) if topic.name in present]
    if not names:
        return {}
    futures = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=CONNECT_TIMEOUT_S)
    found: dict[str, list[str] | None] = {}
    for name, future in futures.items():
        try:
            operations = future.result(CONNECT_TIMEOUT_S).authorized_operations
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_AUTHORIZATION_FAILED":
                raise EmsError(f"cannot describe topic {name}: {error.args[0].str()}") from None
            operations = ()
        found[name] = None if operations is None else [getattr(each, "name", str(each)) for each in operations]
    return found


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.strip().rpartition(":")
    return host.strip("[]"), int(port)


async def _advertised(broker: Any) -> Finding | None:
    address = f"{broker.host}:{broker.port}"
    trouble = await reach(broker.host, broker.port, _SETTING)
    if trouble is None:
        return None
    what = f"broker {broker.nodeId} tells clients {address}, which this machine does not reach"
    return finding(
        "kafka-advertised", what, found=trouble.found, expected=f"a connection to {address}", broker=broker.nodeId, address=address
    )


async def _versions(client: AIOKafkaClient) -> dict[int, tuple[int, int]]:
    """Versions of each API that a broker speaks, as its connection has asked at its start."""
    node = client.get_random_node()
    await client.ready(node)
    connections = list(client._conns.values())
    return dict(connections[0]._versions) if connections else {}


def _at_least(versions: dict[int, tuple[int, int]]) -> str:
    return next((release for key, version, release in _MARKS if versions.get(key, (0, -1))[1] >= version), "0.11")


def _abilities(versions: dict[int, tuple[int, int]], brokers: int, settings: Settings) -> Iterable[Finding]:
    if versions and 44 not in versions:
        yield finding("kafka-old", "Kafka is older than 2.3", found="no IncrementalAlterConfigs", expected="2.3 or later")
    if brokers < settings.replication_factor:
        expected = f"EMS_REPLICATION_FACTOR={settings.replication_factor} brokers at least"
        yield finding(
            "kafka-brokers",
            "there are fewer brokers than replicas are wanted",
            found=f"{brokers} brokers",
            expected=expected,
            brokers=brokers,
        )

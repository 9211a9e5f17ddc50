"""Every role does its own work with exactly the rights that are generated for it, and no work of others."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from ems_streams.dead_letters.state import read_state
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.maintenance import MaintenanceWindow
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import EmsError
from ems_streams.kafka.acls import Resource, apply_acls, plan_acls
from ems_streams.kafka.admin import list_topics, plan_topics
from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS, DEVICE_REGISTRY, DEVICE_TELEMETRY
from ems_streams.kafka.client import producer_options
from ems_streams.kafka.device_registry import read_registry, write_registry
from ems_streams.kafka.maintenance import maintenance_windows, set_window
from ems_streams.kafka.own_rights import RightsMissingError, own_rights
from ems_streams.kafka.partitioner import partition_for
from ems_streams.kafka.tail import Start, tail
from ems_streams.kafka.topic_lifecycle import create_topics, delete_topics
from ems_streams.processes.rights import Role, acls_of, check_rights, groups_of, principal_of
from ems_streams.processes.rights import topics_of as needed_topics
from ems_streams.replay.topics import topics_of
from ems_streams.rules.applying import apply_rules
from ems_streams.rules.builtin import builtin_rules
from tests.support.notifier import channels_file, hook, secrets
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.secure_kafka import APPLICATION_ID, PARTITIONS, SUPER, SecureKafka, user_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def secured(stack: EmbeddedStack, secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Processes of ours on the secured Kafka; MQTT broker and database are those of all tests. Commands are the admin's."""
    made = Deployment(stack, tmp_path_factory.mktemp("secured"), APPLICATION_ID, PARTITIONS)
    made.extra = secure_kafka.environment(user_of(Role.ADMIN)) | {"EMS_MQTT_SHARE_GROUP": f"secure-{uuid.uuid4().hex[:8]}"}
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def running(secured: Deployment, secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> dict[Role, Running]:
    """Every process, each as its own principal, ready."""
    channels = channels_file(tmp_path_factory.mktemp("channels"), {"nowhere": hook("http://127.0.0.1:9/")})

    def own(role: Role) -> dict[str, str]:
        return secure_kafka.environment(user_of(role))

    before, secured.extra = secured.extra, secured.extra | own(Role.GATEWAY)
    found = {
        Role.WORKER: secured.worker(**own(Role.WORKER)),
        Role.INGRESS: secured.ingress(**own(Role.INGRESS)),
        Role.SINK: secured.sink(**own(Role.SINK)),
        Role.NOTIFIER: secured.notifier(channels, **own(Role.NOTIFIER), **secrets()),
        Role.GATEWAY: secured.gateway(),
    }
    secured.extra = before
    for each in found.values():
        each.wait_until_ready(120)
    return found


def telemetry(serial: str, second: int) -> tuple[bytes, bytes]:
    value = {
        "deviceId": 7, "serialNumber": serial, "siteId": 1, "deviceType": "METER", "telemetryData": {"powerKw": 1.5},
        "timestamp": f"2026-01-05T10:15:{second:02d}Z", "eventType": "DEVICE_TELEMETRY", "messageId": f"{serial}-{second}",
    }  # fmt: skip
    return serial.encode(), json.dumps(value).encode()


async def produce(kafka: SecureKafka, user: str, serial: str, seconds: range, topic: str = DEVICE_TELEMETRY) -> None:
    async with AIOKafkaProducer(**producer_options(kafka.settings(user))) as producer:
        for key, value in (telemetry(serial, second) for second in seconds):
            await producer.send_and_wait(topic, value, key=key, partition=partition_for(key, PARTITIONS))


def counted(worker: Running, serial: str) -> int:
    body: Any = get(f"{worker.url}/api/v1/devices/{serial}/aggregates")[1] or {}
    return int(body.get("total", {}).get("metrics", {}).get("powerKw", {}).get("count", 0))


def test_every_process_works_with_its_own_rights_and_says_no_secret(running: dict[Role, Running], secure_kafka: SecureKafka) -> None:
    serial = uuid.uuid4().hex
    asyncio.run(produce(secure_kafka, user_of(Role.INGRESS), serial, range(10)))

    eventually(lambda: counted(running[Role.WORKER], serial) == 10, 60, "counted by the worker")
    for role, process in running.items():
        log = process.log_file.read_text()
        assert "not allow" not in log, (role, log)
        assert "Authorization" not in log, (role, log)
        assert not [secret for secret in secure_kafka.security.users.values() if secret in log], role
    broker = "".join(path.read_text(errors="replace") for path in secure_kafka.stack.kafka.data_dir.glob("logs/*.log"))
    assert not [secret for secret in secure_kafka.security.users.values() if secret in broker]
    assert secure_kafka.stack.kafka.directory.joinpath("server.properties").stat().st_mode & 0o777 == 0o600


def test_a_worker_goes_on_exactly_with_a_password_that_was_changed_while_it_ran(
    running: dict[Role, Running], secured: Deployment, secure_kafka: SecureKafka
) -> None:
    """The procedure of docs/howto/security-kafka.md: the new one at Kafka, then a restart; the old one is refused from then on."""
    from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

    from ems_streams.kafka.admin import client_config

    user, serial = user_of(Role.WORKER), uuid.uuid4().hex
    asyncio.run(produce(secure_kafka, SUPER, serial, range(10)))
    admin = AdminClient(client_config(secure_kafka.settings(user_of(Role.ADMIN))))

    def set_password(password: str) -> None:
        change = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode())
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result(20)

    eventually(lambda: counted(running[Role.WORKER], serial) == 10, 60, "counted before")
    set_password("another")
    try:
        # Who is connected stays connected.
        asyncio.run(produce(secure_kafka, SUPER, serial, range(10, 20)))
        eventually(lambda: counted(running[Role.WORKER], serial) == 20, 60, "counted with the password that is no more")
        assert running[Role.WORKER].terminate(60) == 0

        old = secured.worker(**secure_kafka.environment(user))
        said = eventually(lambda: (get(f"{old.url}/readyz")[1] or {}).get("checks", {}).get("kafka"), 60, "not ready, for a reason")
        assert not said["ok"]
        assert "refuses the login of EMS_KAFKA_USERNAME=ems-worker" in said["detail"]
        assert get(f"{old.url}/livez")[0] == 200
        old.terminate(30)

        asyncio.run(produce(secure_kafka, SUPER, serial, range(20, 30)))
        running[Role.WORKER] = secured.worker(**secure_kafka.environment(user) | {"EMS_KAFKA_PASSWORD": "another"}).wait_until_ready(120)
        eventually(lambda: counted(running[Role.WORKER], serial) == 30, 60, "counted after")
    finally:
        set_password(secure_kafka.security.users[user])


def test_a_worker_goes_on_exactly_with_a_certificate_that_was_renewed_while_it_ran(
    running: dict[Role, Running], secured: Deployment, secure_kafka: SecureKafka
) -> None:
    """The procedure of docs/howto/security-kafka.md, with a file of two authorities as while an authority is replaced."""
    user, serial, made = user_of(Role.WORKER), uuid.uuid4().hex, secure_kafka.certificates
    cert, key = made.of("client", file="renewed", cn=user, expires=datetime.now(UTC) + timedelta(hours=1))
    both = made.directory / "both.pem"
    both.write_bytes(secure_kafka.strangers.ca_file.read_bytes() + made.ca_file.read_bytes())
    login = {
        "EMS_KAFKA_BOOTSTRAP_SERVERS": secure_kafka.mtls, "EMS_KAFKA_SECURITY_PROTOCOL": "SSL", "EMS_KAFKA_CA_FILE": str(both),
        "EMS_KAFKA_CERT_FILE": str(cert), "EMS_KAFKA_KEY_FILE": str(key), "EMS_KAFKA_USERNAME": "", "EMS_KAFKA_PASSWORD": "",
    }  # fmt: skip
    environment = secure_kafka.environment(user)
    assert running[Role.WORKER].terminate(60) == 0
    try:
        worker = secured.worker(**environment | login).wait_until_ready(120)
        asyncio.run(produce(secure_kafka, SUPER, serial, range(10)))
        eventually(lambda: counted(worker, serial) == 10, 60, "counted with the first certificate")
        for new, old in zip(made.of("client", file="renewed-2", cn=user), (cert, key), strict=True):
            new.replace(old)
        asyncio.run(produce(secure_kafka, SUPER, serial, range(10, 20)))
        eventually(lambda: counted(worker, serial) == 20, 60, "who is connected stays connected")
        assert worker.terminate(60) == 0
        worker = secured.worker(**environment | login).wait_until_ready(120)
        asyncio.run(produce(secure_kafka, SUPER, serial, range(20, 30)))
        eventually(lambda: counted(worker, serial) == 30, 60, "counted with the second")
        assert worker.terminate(60) == 0
    finally:
        running[Role.WORKER] = secured.worker(**environment).wait_until_ready(120)


def test_a_worker_that_is_somebody_else_says_which_rights_it_lacks_and_ends(secured: Deployment, secure_kafka: SecureKafka) -> None:
    worker = secured.worker(7, **secure_kafka.environment(user_of(Role.INGRESS)))

    assert worker.popen.wait(60) == 1
    log = worker.log_tail()
    assert "Kafka does not allow user ems-ingress what worker needs:" in log
    assert "READ on group secure" in log
    assert "ems-streams acls apply" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("half", [0, 1])
async def test_each_right_that_is_taken_away_is_missed_by_its_process_and_no_other(secure_kafka: SecureKafka, half: int) -> None:
    """Every second one at a time, so that two rounds have taken each; transactional ids, and beginnings of names, are not asked for."""
    prefix = f"t{uuid.uuid4().hex[:6]}-"
    given = acls_of(secure_kafka.settings(SUPER), prefix)
    taken = {acl for acl in given if not acl.prefixed and acl.resource in {Resource.TOPIC, Resource.GROUP}} - set(sorted(given)[half::2])
    await apply_acls(secure_kafka.settings(SUPER), [acl for acl in given if acl not in taken])

    for role in (Role.INGRESS, Role.WORKER, Role.SINK, Role.NOTIFIER, Role.GATEWAY):
        settings = secure_kafka.settings_of_certificate(f"{prefix}{role}", kafka_principal_prefix=prefix)
        found = await own_rights(settings, needed_topics(role, settings), groups_of(role, settings))
        principal = principal_of(role, settings)
        assert set(found.lacking) == {(acl.operation, f"{acl.resource.lower()} {acl.name}") for acl in taken if acl.principal == principal}
        assert found.missing == []
        with pytest.raises(RightsMissingError):
            await check_rights(role, settings)


@pytest.mark.parametrize(
    ("role", "topic"), [(Role.SINK, DEVICE_TELEMETRY), (Role.WORKER, DEVICE_TELEMETRY), (Role.NOTIFIER, DEVICE_NOTIFICATIONS)]
)
async def test_sink_worker_and_notifier_may_not_write_what_they_only_read(secure_kafka: SecureKafka, role: Role, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await produce(secure_kafka, user_of(role), "S-1", range(1), topic)


async def test_an_operator_does_what_the_commands_are_for(secure_kafka: SecureKafka) -> None:
    """By the functions behind the commands, which are slow to start."""
    settings = secure_kafka.settings(user_of(Role.OPERATOR))
    entry = RegistryEntry(device_id=4711, serial_number="OP-1", site_id=1, device_type="METER", name="one")
    now = datetime.now(UTC)
    window = MaintenanceWindow(devices=("OP-1",), starts_at=now, ends_at=now + timedelta(hours=1), reason="test", created_by="test")
    replay = topics_of("secure", uuid.uuid4().hex[:8], PARTITIONS)

    await write_registry(settings, [entry])
    assert (await read_registry(settings))["OP-1"] == entry
    assert (await apply_rules(settings, builtin_rules(), prune=False, by="test")).added
    await set_window(settings, window)
    assert [each.reason for each in await maintenance_windows(settings)] == ["test"]
    assert len(await list_topics(settings)) >= len(await plan_topics(settings))
    assert await asyncio.to_thread(lambda: list(tail(settings, DEVICE_REGISTRY, Start(last=1), follow=False)))
    await create_topics(settings, replay)
    assert await delete_topics(settings, [each.name for each in replay]) == sorted(each.name for each in replay)
    await read_state(settings)
    with pytest.raises(EmsError, match="Kafka does not allow user ems-operator to see who has which rights"):
        await plan_acls(settings, acls_of(settings))


async def test_acls_are_planned_and_applied_by_the_admin_and_those_of_others_stay(secured: Deployment, secure_kafka: SecureKafka) -> None:
    prefix = f"t{uuid.uuid4().hex[:6]}-"
    option = ("--principal-prefix", prefix)
    settings = secure_kafka.settings(user_of(Role.ADMIN))
    wanted, other = acls_of(settings, prefix), acls_of(settings.model_copy(update={"application_id": "other"}), prefix)

    planned = json.loads(secured.command("acls", "plan", "--check", "--json", *option, check=False).stdout)
    assert [each["action"] for each in planned] == ["missing"] * len(wanted)
    created = json.loads(secured.command("acls", "apply", "--json", *option).stdout)
    assert [each["action"] for each in created] == ["created"] * len(wanted)
    assert secured.command("acls", "plan", "--check", *option).returncode == 0

    # What is left of another application is superfluous for these principals, and stays until somebody says so.
    first = await apply_acls(settings, other)
    again = await plan_acls(settings, other)
    assert (again.missing, again.superfluous) == ((), first.superfluous)
    assert first.superfluous
    await apply_acls(settings, other, prune=True)
    assert (await plan_acls(settings, other)).superfluous == ()
    ours = await plan_acls(settings, acls_of(settings))
    assert (ours.missing, ours.superfluous) == ((), ())


async def test_a_cluster_without_an_authorizer_is_told(stack: EmbeddedStack, secure_kafka: SecureKafka) -> None:
    from ems_streams.settings import Settings

    settings = Settings.load(kafka_bootstrap_servers=stack.kafka_bootstrap)
    with pytest.raises(EmsError, match="has no authorizer"):
        await plan_acls(settings, acls_of(settings))

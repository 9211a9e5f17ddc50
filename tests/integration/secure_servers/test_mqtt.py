"""The MQTT broker with mutual TLS: who gets in, who is refused and why, and that a device is nobody but itself."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ems_streams.dev.certificates import DEVICE
from ems_streams.errors import SettingError
from ems_streams.mqtt.adapter import MqttSubscriber
from ems_streams.mqtt.endpoint import TlsFiles
from ems_streams.mqtt.exact_session import AnswerKind, ExactMessage, ExactSession
from ems_streams.mqtt.probe import BrokerUnusableError, Trouble, probe_broker
from ems_streams.mqtt.publisher import MqttPublisher, PublishRefusedError
from ems_streams.mqtt.receiver import Delivery, MqttReceiver
from ems_streams.settings import Settings
from tests.integration.secure_servers.conftest import PASSWORDS, Secured

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
TOPICS = ("telemetry", "status", "commands/ack")


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def publisher(settings: Settings, name: str = "device") -> MqttPublisher:
    return MqttPublisher(str(settings.mqtt_url), unique(name), tls=TlsFiles.of(settings))


def receiver(settings: Settings, pattern: str, take: Callable[[Delivery], None], name: str = "receiver") -> MqttReceiver:
    return MqttReceiver(str(settings.mqtt_url), unique(name), pattern, take, tls=TlsFiles.of(settings))


class Ingress:
    """What an ingress takes from the broker, acknowledged at once."""

    def __init__(self, settings: Settings) -> None:
        self.subscriber = MqttSubscriber(settings)
        self.taken: list[tuple[str, bytes]] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        async for batch in self.subscriber.batches():
            self.taken += [(message.topic, bytes(message.payload or b"")) for message in batch.messages]
            await self.subscriber.acknowledge(batch)
            self._news.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def connected(self, timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.subscriber._subscribed:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def ingress(settings: Settings) -> AsyncIterator[Ingress]:
    found = Ingress(settings)
    async with found.subscriber:
        running = asyncio.create_task(found.run())
        try:
            await found.connected()
            yield found
        finally:
            running.cancel()


def ingress_settings(secured: Secured, **more: Any) -> Settings:
    name = unique("ingress")
    return secured.settings("ems-ingress", **{"ingress_id": name, "mqtt_share_group": name, **more})


# -- Who gets in --


@pytest.mark.parametrize("name", ["ems-ingress", "ems-worker", "ems-simulator"])
async def test_a_process_is_known_by_its_certificate(secured: Secured, name: str) -> None:
    assert (await probe_broker(secured.settings(name), 5.0)).shared_subscriptions


async def test_a_certificate_that_nobody_knows_gets_in_by_name_and_password(secured: Secured) -> None:
    login = {"mqtt_username": "by-password", "mqtt_password": PASSWORDS["by-password"]}
    assert await probe_broker(secured.settings("somebody", **login), 5.0)


REFUSALS = {
    "wrong password": (
        "somebody",
        {"mqtt_username": "by-password", "mqtt_password": "wrong-one"},
        Trouble.LOGIN,
        "refuses user by-password",
    ),
    "unknown user": ("somebody", {"mqtt_username": "nobody", "mqtt_password": "any-word"}, Trouble.LOGIN, "refuses user nobody"),
    "no name": ("somebody", {}, Trouble.LOGIN, "refuses the certificate"),
    "no client certificate": (None, {}, Trouble.TLS, "set EMS_MQTT_CERT_FILE and EMS_MQTT_KEY_FILE"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_says_what_to_do(secured: Secured, case: str) -> None:
    name, login, trouble, words = REFUSALS[case]
    settings = secured.showing(None) if name is None else secured.settings(name, **login)

    with pytest.raises(BrokerUnusableError, match=words) as refused:
        await probe_broker(settings, 5.0)

    assert refused.value.trouble is trouble
    print(f"{case}: {refused.value}")
    assert not {"wrong-one", "any-word"} & set(str(refused.value).split())


async def test_the_certificate_of_another_authority_is_refused(secured: Secured) -> None:
    settings = secured.showing(secured.signed(secured.stranger, "ems-ingress"))

    with pytest.raises(BrokerUnusableError, match="must be of an authority that the broker trusts") as refused:
        await probe_broker(settings, 5.0)
    print(refused.value)
    assert refused.value.trouble is Trouble.TLS


async def test_a_broker_of_another_authority_is_not_trusted(secured: Secured) -> None:
    other = secured.directory / "stranger.pem"
    other.write_bytes(secured.stranger.cert_pem.bytes())

    with pytest.raises(BrokerUnusableError, match=r"is not trusted .*set EMS_MQTT_CA_FILE to the authority") as refused:
        await probe_broker(secured.settings("ems-ingress", mqtt_ca_file=other), 5.0)
    print(refused.value)


async def test_an_expired_certificate_is_found_at_the_start(secured: Secured) -> None:
    now = datetime.now(UTC)
    pair = secured.signed(secured.certificates._authority, "ems-ingress", begins=now - 2 * DAY, ends=now - DAY)

    with pytest.raises(SettingError, match=f"EMS_MQTT_CERT_FILE=.*expired at {now - DAY:%Y-%m-%d}"):
        MqttSubscriber(secured.showing(pair))


async def test_a_certificate_that_expires_while_a_process_runs_is_refused_by_the_broker(secured: Secured) -> None:
    """The files were good at the start: what counts then is the broker's clock."""
    ends = datetime.now(UTC) + timedelta(seconds=1.5)
    settings = secured.showing(secured.signed(secured.certificates._authority, "ems-ingress", ends=ends))
    subscriber = MqttSubscriber(settings)
    await asyncio.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.2)

    async with subscriber, asyncio.timeout(10):
        while "renew it" not in subscriber.status.detail and "not expired" not in subscriber.status.detail:
            assert not subscriber.status.connected
            await asyncio.sleep(0.02)
    print(subscriber.status.detail)


async def test_plain_mqtt_gets_no_answer(secured: Secured) -> None:
    plain = Settings.load(mqtt_url=secured.stack.mqtt_url.replace("mqtts", "mqtt"))
    with pytest.raises(BrokerUnusableError):
        await probe_broker(plain, 2.0)


# -- What a device may do --


async def test_a_device_is_heard_and_gets_its_commands(secured: Secured) -> None:
    base, got = "sites/1/devices/INV-001", []
    arrived = asyncio.Event()

    def take(delivery: Delivery) -> None:
        got.append(delivery.payload)
        arrived.set()

    settings = secured.device("INV-001")
    changed = asyncio.Event()
    worker = ExactSession(secured.settings("ems-worker"), unique("worker"), clean_start=lambda: True, on_change=changed.set)
    async with (
        ingress(ingress_settings(secured)) as heard,
        publisher(settings) as device,
        receiver(settings, f"{base}/commands", take) as own,
    ):
        for topic in TOPICS:
            await device.publish(f"{base}/{topic}", topic.encode())
        await heard.until(lambda: len(heard.taken) == 3)
        await own.wait_connected()
        async with worker, asyncio.timeout(10):
            while not worker.connected:
                changed.clear()
                await changed.wait()
            assert worker.publish(1, 1, ExactMessage(f"{base}/commands", b"go", 60, f"{base}/commands/ack", b"c"), again=False)
            while not worker.answers:
                changed.clear()
                await changed.wait()
            assert worker.answers[0].kind is AnswerKind.RECEIVED
            assert worker.release(1, 1)
            await arrived.wait()
    # The command itself is below `sites/#`, too.
    reports = [each for each in heard.taken if not each[0].endswith("/commands")]
    assert sorted(reports) == sorted((f"{base}/{topic}", topic.encode()) for topic in TOPICS)
    assert got == [b"go"]


@pytest.mark.parametrize(
    "topic",
    [
        *(f"sites/1/devices/INV-002/{each}" for each in TOPICS),
        "sites/1/devices/INV-001/commands",
        "sites/2/devices/INV-001/telemetry",  # a site that it is not bound to
        "sites/1/devices/DEMO-1/telemetry",
        "sites/1/devices/INV-001/other",
        "elsewhere",
    ],
)
async def test_a_device_publishes_nothing_but_its_own(secured: Secured, topic: str) -> None:
    async with publisher(secured.device("INV-001")) as device, asyncio.timeout(10):
        with pytest.raises(PublishRefusedError, match=f"{topic}: NOT_AUTHORIZED"):
            await device.publish(topic, b"{}")


async def test_what_a_device_publishes_as_another_reaches_nobody_with_any_quality_of_service(secured: Secured) -> None:
    other = "sites/1/devices/INV-002/telemetry"
    changed = asyncio.Event()
    settings = secured.device("INV-001")
    exact = ExactSession(settings, unique("exact"), clean_start=lambda: True, on_change=changed.set)
    async with ingress(ingress_settings(secured)) as heard, publisher(settings) as device, exact, asyncio.timeout(15):
        await device.publish(other, b"zero", qos=0)
        with pytest.raises(PublishRefusedError):
            await device.publish(other, b"one")
        while not exact.connected:
            changed.clear()
            await changed.wait()
        exact.publish(1, 1, ExactMessage(other, b"two", 60, other, b"c"), again=False)
        while not exact.answers:
            changed.clear()
            await changed.wait()
        # With QoS 2 the refusal comes as a PUBREC: who takes any PUBREC for a success would think that it is sent.
        assert (exact.answers[0].kind, exact.answers[0].reason) == (AnswerKind.REFUSED, "NOT_AUTHORIZED")
        await device.publish("sites/1/devices/INV-001/telemetry", b"own")
        await heard.until(lambda: bool(heard.taken))
    assert heard.taken == [("sites/1/devices/INV-001/telemetry", b"own")]


@pytest.mark.parametrize(
    "pattern", ["sites/1/devices/INV-002/commands", "sites/+/devices/+/commands", "sites/#", "#", "+/1/devices/INV-002/commands"]
)
async def test_a_device_reads_no_commands_of_another(secured: Secured, pattern: str) -> None:
    device = receiver(secured.device("INV-001"), pattern, lambda _: None)
    async with device, asyncio.timeout(10):
        while "NOT_AUTHORIZED" not in device.trouble:
            assert not device.connected
            await asyncio.sleep(0.02)
    assert pattern in device.trouble


async def test_a_device_gets_nothing_by_the_session_of_another(secured: Secured) -> None:
    """Whoever knows a client id can take a session away, and what is kept in it is lost; but it is shown to nobody."""
    base, session, taken = "sites/1/devices/INV-002", unique("session"), []
    owner, thief = secured.device("INV-002"), secured.device("INV-001")

    def of(settings: Settings, take: Callable[[Delivery], None]) -> MqttReceiver:
        return MqttReceiver(str(settings.mqtt_url), session, f"{base}/commands", take, tls=TlsFiles.of(settings))

    async with of(owner, lambda _: None) as receiving:
        await receiving.wait_connected()
    async with publisher(secured.settings("ems-worker")) as worker:
        await worker.publish(f"{base}/commands", b"kept")
    stolen = of(thief, lambda delivery: taken.append(delivery.payload))
    async with stolen, asyncio.timeout(10):
        while not stolen.trouble:
            await asyncio.sleep(0.02)
    assert not taken


async def test_the_fleet_publishes_for_its_own_devices(secured: Secured) -> None:
    async with publisher(secured.settings("ems-simulator")) as fleet, asyncio.timeout(10):
        for topic in TOPICS:
            await fleet.publish(f"sites/3/devices/DEMO-INV-00007/{topic}", b"{}")
            with pytest.raises(PublishRefusedError):
                await fleet.publish(f"sites/3/devices/INV-002/{topic}", b"{}")
        with pytest.raises(PublishRefusedError):
            await fleet.publish("sites/3/devices/DEMO-INV-00007/commands", b"{}")


@pytest.mark.parametrize(
    ("name", "topic"), [("ems-worker", "sites/1/devices/INV-001/telemetry"), ("ems-ingress", "sites/1/devices/INV-001/commands")]
)
async def test_a_worker_may_publish_no_telemetry_and_an_ingress_no_commands(secured: Secured, name: str, topic: str) -> None:
    async with publisher(secured.settings(name)) as process, asyncio.timeout(10):
        with pytest.raises(PublishRefusedError, match="NOT_AUTHORIZED"):
            await process.publish(topic, b"{}")


async def test_a_worker_reads_no_telemetry(secured: Secured) -> None:
    settings = secured.settings("ems-worker", ingress_id=unique("worker"), mqtt_share_group=unique("g"))
    subscriber = MqttSubscriber(settings)
    async with subscriber, asyncio.timeout(10):
        while "NOT_AUTHORIZED" not in subscriber.status.detail:
            await asyncio.sleep(0.02)
    assert "cannot subscribe" in subscriber.status.detail
    assert "does not let this client read sites/#" in subscriber.status.detail


# -- Rotation --


async def refused_in_time(settings: Settings) -> str:
    """What is said once the broker refuses a client with these settings."""
    async with asyncio.timeout(20):
        while True:
            try:
                await probe_broker(settings, 5.0)
            except BrokerUnusableError as error:
                return str(error)
            await asyncio.sleep(0.1)


async def test_rotated_credentials_count_from_the_next_start_and_nothing_is_lost(secured: Secured) -> None:
    name = unique("rotating")
    session = {"ingress_id": name, "mqtt_share_group": name, "mqtt_username": "by-password"}
    topic, sent = "sites/1/devices/INV-001/telemetry", [f"{number}".encode() for number in range(100)]
    before = secured.settings("somebody", **session, mqtt_password=PASSWORDS["by-password"])
    rights, etc = secured.stack.mqtt.security, secured.stack.mqtt.directory / "etc"
    assert rights is not None
    async with publisher(secured.device("INV-001")) as device:
        async with ingress(before) as heard:
            for payload in sent[:50]:
                await device.publish(topic, payload)
            await heard.until(lambda: len(heard.taken) == 50)
        try:
            replace(rights, passwords={"by-password": "the-next-one"}).write(etc)
            for payload in sent[50:]:
                await device.publish(topic, payload)
            # Until the broker has learnt of it, the old one still opens; nobody comes with it.
            assert "refuses user by-password" in await refused_in_time(before)
            renewed = secured.signed(secured.certificates._authority, "somebody-else")
            after = secured.showing(renewed, **session, mqtt_password="the-next-one")
            async with ingress(after) as late:
                await late.until(lambda: len(late.taken) >= 50)
        finally:
            rights.write(etc)
    # Each once; in which order a broker that is busy gives them to a shared subscription is its own affair.
    assert sorted((payload for _, payload in heard.taken + late.taken), key=int) == sent


async def test_a_device_that_is_not_known_is_nobody(secured: Secured) -> None:
    with pytest.raises(BrokerUnusableError, match="refuses the certificate"):
        await probe_broker(secured.settings("INV-003", DEVICE), 5.0)

"""The shipped mosquitto configuration with the real mosquitto, where it is installed."""

import asyncio
import contextlib
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ems_streams.dev.certificates import DEVICE, PROCESS, SERVER, SERVER_NAMES, issue, new_authority, save
from ems_streams.dev.ports import Ports
from ems_streams.mqtt.exact_session import AnswerKind, ExactMessage, ExactSession
from ems_streams.mqtt.probe import BrokerUnusableError, probe_broker
from ems_streams.settings import Settings
from tests.integration.secure_servers.test_mqtt import ingress, publisher, receiver, unique
from tests.support.mosquitto import Mosquitto, find_mosquitto, running

pytestmark = pytest.mark.integration
MOSQUITTO = find_mosquitto()
PASSWORDS = {"ems-ingress": "ingress-secret", "ems-worker": "worker-secret"}


class Broker:
    """Where it listens, and the certificates of its clients."""

    def __init__(self, directory: Path, mosquitto: Mosquitto) -> None:
        self.directory = directory
        ports = Ports.free()
        self.devices, self.ems = ports.mqtt, ports.kafka
        certs, secrets = directory / "certs", directory / "secrets"
        for each in (certs, secrets):
            each.mkdir(exist_ok=True)
        self.authority, self.internal = new_authority(), new_authority()
        (certs / "devices-ca.pem").write_bytes(self.authority.cert_pem.bytes())
        (certs / "ems-ca.pem").write_bytes(self.internal.cert_pem.bytes())
        save(issue(self.internal, "broker", SERVER, *SERVER_NAMES), certs, "server")
        self.ca = certs / "ems-ca.pem"
        _write_passwords(secrets / "passwords", mosquitto.passwd)

    def device(self, serial: str, port: int | None = None, **more: object) -> Settings:
        pair = save(issue(self.authority, serial, DEVICE), self.directory, serial)
        return self._settings(port or self.devices, mqtt_cert_file=pair.cert, mqtt_key_file=pair.key, **more)

    def process(self, name: str, **more: object) -> Settings:
        pair = save(issue(self.internal, name, PROCESS), self.directory, name)
        login = {"mqtt_username": name, "mqtt_password": PASSWORDS[name]}
        return self._settings(self.ems, mqtt_cert_file=pair.cert, mqtt_key_file=pair.key, **{**login, **more})

    def _settings(self, port: int, **more: object) -> Settings:
        return Settings.load(mqtt_url=f"mqtts://127.0.0.1:{port}", mqtt_ca_file=self.ca, **more)


def _write_passwords(path: Path, tool: str) -> None:
    path.write_text("".join(f"{name}:{password}\n" for name, password in PASSWORDS.items()))
    subprocess.run([tool, "-U", str(path)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if MOSQUITTO is None:
        why = "mosquitto and mosquitto_passwd are not installed: what it makes of docker/mosquitto is not shown in this run"
        warnings.warn(pytest.PytestWarning(why), stacklevel=1)
        pytest.skip(why)
    found = Broker(tmp_path_factory.mktemp("mosquitto"), MOSQUITTO)
    with running(MOSQUITTO.broker, found.directory, found.devices, found.ems):
        yield found


def ingress_settings(broker: Broker) -> Settings:
    name = unique("ingress")
    return broker.process("ems-ingress", ingress_id=name, mqtt_share_group=name)


async def test_the_ingress_hears_a_device_and_not_what_it_says_as_another(broker: Broker) -> None:
    async with ingress(ingress_settings(broker)) as heard, publisher(broker.device("INV-001")) as device:
        for topic in ("telemetry", "status", "commands/ack"):
            with contextlib.suppress(Exception):
                await device.publish(f"sites/1/devices/INV-002/{topic}", b"false")
            await device.publish(f"sites/1/devices/INV-001/{topic}", b"true")
        await heard.until(lambda: len(heard.taken) >= 3)
    assert heard.taken == [(f"sites/1/devices/INV-001/{topic}", b"true") for topic in ("telemetry", "status", "commands/ack")]


async def test_a_command_reaches_its_device_and_no_other(broker: Broker) -> None:
    got: dict[str, list[bytes]] = {"INV-001": [], "INV-002": []}
    arrived, changed = asyncio.Event(), asyncio.Event()

    def take(serial: str, payload: bytes) -> None:
        got[serial].append(payload)
        if b"first" in got["INV-001"] and b"last" in got["INV-002"]:
            arrived.set()

    own = receiver(broker.device("INV-001"), "sites/1/devices/INV-001/commands", lambda each: take("INV-001", each.payload))
    # Mosquitto grants what it is asked for, and delivers nothing of it.
    greedy = receiver(broker.device("INV-002"), "sites/#", lambda each: take("INV-002", each.payload))
    worker = ExactSession(broker.process("ems-worker"), unique("worker"), clean_start=lambda: True, on_change=changed.set)
    async with own, greedy, worker, asyncio.timeout(15):
        await own.wait_connected()
        await greedy.wait_connected()
        for packet_id, (serial, payload) in enumerate((("INV-001", b"first"), ("INV-002", b"last")), 1):
            while not worker.connected:
                changed.clear()
                await changed.wait()
            topic = f"sites/1/devices/{serial}/commands"
            assert worker.publish(worker.number, packet_id, ExactMessage(topic, payload, 60, f"{topic}/ack", b"c"), again=False)
            while not worker.answers:
                changed.clear()
                await changed.wait()
            assert worker.answers.popleft().kind is AnswerKind.RECEIVED
            assert worker.release(worker.number, packet_id)
            while not worker.answers:
                changed.clear()
                await changed.wait()
            worker.answers.popleft()
        await arrived.wait()
    assert got == {"INV-001": [b"first"], "INV-002": [b"last"]}


async def test_the_client_id_of_a_device_is_its_name(broker: Broker) -> None:
    """Whoever comes with the client id of another does not cut it off."""
    first, second = broker.device("INV-001"), broker.device("INV-002")
    async with publisher(first, "same") as one:
        await one.wait_connected()
        assert await probe_broker(second, 5.0)
        assert one.connected


async def test_the_certificate_of_a_device_opens_nothing_at_the_internal_port(broker: Broker) -> None:
    with pytest.raises(BrokerUnusableError) as refused:
        await probe_broker(broker.device("ems-ingress", broker.ems, mqtt_username="ems-ingress", mqtt_password="ingress-secret"), 5.0)
    print(refused.value)
    assert "EMS_MQTT_CERT_FILE must be of an authority that the broker trusts" in str(refused.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mqtt_password": SecretStr("wrong-one")}, "refuses user ems-ingress"),
        ({"mqtt_username": None, "mqtt_password": None}, "refuses the certificate"),
        ({"mqtt_cert_file": None, "mqtt_key_file": None}, "set EMS_MQTT_CERT_FILE and EMS_MQTT_KEY_FILE"),
    ],
)
async def test_refusals_of_mosquitto(broker: Broker, more: dict[str, object], words: str) -> None:
    settings = broker.process("ems-ingress").model_copy(update=more)
    with pytest.raises(BrokerUnusableError, match=words) as refused:
        await probe_broker(settings, 5.0)
    print(refused.value)

"""Ports: settings and offset decide them, and a busy one is named with what it is for and what to change."""

import dataclasses
import socket
from collections.abc import Iterator

import pytest

from ems_streams.dev.errors import PortBusyError
from ems_streams.dev.ports import LOOPBACK, Ports, is_free
from ems_streams.errors import SettingError
from ems_streams.settings import Settings


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_defaults_are_those_of_the_contracts() -> None:
    ports = Ports.default()
    assert (ports.kafka, ports.mqtt, ports.postgres, ports.worker) == (9092, 1883, 5432, 6066)
    assert (ports.ingress, ports.sink, ports.gateway) == (6060, 6061, 8080)


def test_an_offset_moves_every_port() -> None:
    usual, moved = dataclasses.asdict(Ports.default()), dataclasses.asdict(Ports.default(100))
    assert {name: port + 100 for name, port in usual.items()} == moved


@pytest.mark.parametrize("offset", [-1883, 57_456, 10**9])
def test_an_offset_beyond_the_range_of_ports_is_refused(offset: int) -> None:
    with pytest.raises(SettingError, match="--port-offset"):
        Ports.default(offset)


def test_each_port_has_a_setting() -> None:
    settings = Settings.load(
        dev_kafka_port=1, dev_kafka_controller_port=2, dev_mqtt_port=3, dev_postgres_port=4, worker_port=5, ingress_port=6, sink_port=7,
        gateway_port=8, notifier_port=9,
    )  # fmt: skip
    assert Ports.from_settings(settings, 10) == Ports(11, 12, 13, 14, 15, 16, 17, 18, 19)


def test_a_busy_port_is_named_with_purpose_and_setting(busy_port: int) -> None:
    ports = dataclasses.replace(Ports.free(), mqtt=busy_port)
    with pytest.raises(PortBusyError) as caught:
        ports.check_free()
    assert f"port {busy_port} (MQTT broker)" in str(caught.value)
    assert "EMS_DEV_MQTT_PORT" in str(caught.value)
    assert "--port-offset" in str(caught.value)


def test_the_port_of_the_second_worker_is_checked_only_when_there_is_one() -> None:
    ports = Ports.free()
    with socket.socket() as listener:
        listener.bind((LOOPBACK, ports.worker + 1))
        ports.check_free(1, {"worker"})
        with pytest.raises(PortBusyError, match="worker-1"):
            ports.check_free(2, {"worker"})


def test_only_the_named_ports_are_checked(busy_port: int) -> None:
    dataclasses.replace(Ports.free(), postgres=busy_port).check_free(1, {"kafka", "mqtt"})


def test_free_ports_are_free_and_distinct() -> None:
    ports = dataclasses.asdict(Ports.free())
    assert len(set(ports.values())) == len(ports)
    assert all(is_free(port) for port in ports.values())

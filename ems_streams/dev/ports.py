"""Ports of the development stack: where they come from, and that they are free."""

import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from ems_streams.dev.errors import PortBusyError
from ems_streams.errors import SettingError

if TYPE_CHECKING:
    from ems_streams.settings import Settings

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports of outgoing connections.
_FREE_FIRST, _FREE_LAST = 22_000, 32_000
_WORKERS_OF_A_TEST = 8


@dataclass(frozen=True, slots=True)
class _Use:
    purpose: str
    setting: str


_USES = {
    "kafka": _Use("Kafka", "EMS_DEV_KAFKA_PORT"),
    "kafka_controller": _Use("Kafka's controller", "EMS_DEV_KAFKA_CONTROLLER_PORT"),
    "mqtt": _Use("MQTT broker", "EMS_DEV_MQTT_PORT"),
    "postgres": _Use("PostgreSQL", "EMS_DEV_POSTGRES_PORT"),
    "worker": _Use("worker web", "EMS_WORKER_PORT"),
    "ingress": _Use("ingress health", "EMS_INGRESS_PORT"),
    "sink": _Use("sink health", "EMS_SINK_PORT"),
    "notifier": _Use("notifier health", "EMS_NOTIFIER_PORT"),
    "gateway": _Use("gateway", "EMS_GATEWAY_PORT"),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each thing that listens; `worker` is the first worker's, the next one has the next."""

    kafka: int = 9092
    kafka_controller: int = 9093
    mqtt: int = 1883
    postgres: int = 5432
    worker: int = 6066
    ingress: int = 6060
    sink: int = 6061
    gateway: int = 8080
    notifier: int = 6062

    @classmethod
    def default(cls, offset: int = 0) -> Self:
        """The usual ports, moved by `offset`; raises `SettingError` when one leaves the range of ports."""
        return cls().moved(offset)

    @classmethod
    def from_settings(cls, settings: "Settings", offset: int = 0) -> Self:
        """The ports of the settings, moved by `offset`; raises `SettingError` when one leaves the range of ports."""
        return cls(
            kafka=settings.dev_kafka_port,
            kafka_controller=settings.dev_kafka_controller_port,
            mqtt=settings.dev_mqtt_port,
            postgres=settings.dev_postgres_port,
            worker=settings.worker_port,
            ingress=settings.ingress_port,
            sink=settings.sink_port,
            gateway=settings.gateway_port,
            notifier=settings.notifier_port,
        ).moved(offset)

    @classmethod
    def free(cls) -> Self:
        """Ports that are free at this moment, with room for some workers; for tests.

        A server that is away for a moment finds its port free when it comes back: no outgoing connection is given one of these.
        """
        names = [field.name for field in fields(cls) if field.name != "worker"]
        count = len(names) + _WORKERS_OF_A_TEST
        while True:
            first = _FREE_FIRST + secrets.randbelow(_FREE_LAST - _FREE_FIRST - count)
            if all(is_free(port) for port in range(first, first + count)):
                return cls(**{name: first + index for index, name in enumerate(names)}, worker=first + len(names))

    def moved(self, offset: int) -> Self:
        """All ports moved by `offset`; raises `SettingError` when one leaves the range of ports."""
        moved = {field.name: getattr(self, field.name) + offset for field in fields(self)}
        for name, port in moved.items():
            if not 0 < port < 65536:
                raise SettingError("--port-offset", offset, f"moves the port of {_USES[name].purpose} to {port}; ports are 1 to 65535")
        return type(self)(**moved)

    def check_free(self, workers: int = 1, names: Iterable[str] = tuple(_USES)) -> None:
        """Raise `PortBusyError` for the first of the named ports that something listens on; `worker` stands for all workers."""
        for name, port, purpose in self._needed(workers, frozenset(names)):
            if not is_free(port):
                raise PortBusyError(port, purpose, _USES[name].setting)

    def _needed(self, workers: int, names: frozenset[str]) -> Iterator[tuple[str, int, str]]:
        for name, use in _USES.items():
            if name not in names:
                continue
            if name == "worker":
                yield from ((name, self.worker + index, f"{use.purpose} of worker-{index}") for index in range(workers))
            else:
                yield name, getattr(self, name), use.purpose


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        # As servers do: connections of an earlier run that linger are no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True

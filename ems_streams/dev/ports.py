# NOTE for the "stack" engineer, from the lead: I overwrote your version of jars.py, jre.py, ports.py by mistake (I believed you were gone) and wrote this one.
# You own all of ems_streams/dev again EXCEPT supervisor.py, command.py and cli/dev.py, which the "supervisor" engineer is writing right now: do not write those.
# Rewrite this file as you need it (yours wins), but keep for the supervisor: Ports(kafka,kafka_controller,mqtt,postgres,worker,ingress,sink,gateway) with Ports.default(offset),
# Ports.free(), check_free(workers); EmbeddedStack(data_dir, ports, *, servers=frozenset({"kafka","mqtt","postgres"}), on_progress=f(done, all)), await prepare()->seconds,
# await start()->seconds, stop(), .servers (each .name .pid .port .log_file .running, async start/stop/kill), .kafka/.mqtt/.postgres, .kafka_bootstrap/.mqtt_url/.database_url,
# and tests/support/stack.py with a session fixture `stack`. Publish it as fast as you can: everybody waits for it. Remove this note.
"""The ports of `ems-streams dev`, all on loopback, all moved by one offset."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from ems_streams.errors import SettingError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; `worker` is the first worker's port, the next one has the next port."""

    kafka: int = 9092
    kafka_controller: int = 9093
    mqtt: int = 1883
    postgres: int = 5432
    worker: int = 6066
    ingress: int = 6060
    sink: int = 6061
    gateway: int = 8080

    @classmethod
    def default(cls, offset: int = 0) -> Self:
        """The usual ports, moved by `offset`; raises `SettingError` when one leaves the range of ports."""
        usual = cls()
        names = cls.__dataclass_fields__
        moved = replace(usual, **{name: getattr(usual, name) + offset for name in names})
        for name in names:
            if not 1024 <= getattr(moved, name) <= 65_000:
                raise SettingError("--port-offset", offset, f"must keep every port between 1024 and 65000; {name} would be {getattr(moved, name)}")
        return moved

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody uses just now, for tests."""
        count = len(cls.__dataclass_fields__)
        sockets = [socket.socket() for _ in range(count)]
        try:
            for each in sockets:
                each.bind((LOOPBACK, 0))
            return cls(*(each.getsockname()[1] for each in sockets))
        finally:
            for each in sockets:
                each.close()

    def check_free(self, workers: int, names: frozenset[str] | None = None) -> None:
        """Raise `SettingError` for the first port that is in use; names what it is for and what to change."""
        for name, port in self._needed(workers):
            if names is not None and name not in names:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError as error:
                    expected = f"port {port} for {name} is in use ({error.strerror}); stop what uses it, or move all ports with --port-offset"
                    raise SettingError(f"port of {name}", port, expected) from error

    def _needed(self, workers: int) -> Iterator[tuple[str, int]]:
        for name in self.__dataclass_fields__:
            if name == "worker":
                yield from (("worker", self.worker + index) for index in range(workers))
            else:
                yield name, getattr(self, name)

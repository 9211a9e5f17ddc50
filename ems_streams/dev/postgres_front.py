"""What stands before the embedded PostgreSQL when it is secured: the wheel's build has no TLS of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

from ems_streams.dev import tls_front
from ems_streams.dev.certificates import Pair
from ems_streams.dev.process import Command
from ems_streams.dev.server import Server


class PostgresFront(Server):
    """Takes TLS on the port, and hands on to the Unix socket of the server.

    Args:
        socket: Path of that socket, asked for at each start.
        shown: Certificate and key.
    """

    name = "postgres-tls"

    def __init__(self, port: int, data_dir: Path, socket: Callable[[], Path], shown: Pair) -> None:
        super().__init__(port, data_dir)
        self._socket = socket
        self._shown = shown

    async def _prepare(self) -> None:
        """Nothing has to be there."""

    def _command(self) -> Command:
        shown = self._shown
        return Command(
            argv=(sys.executable, "-I", tls_front.__file__, str(self.port), str(self._socket()), str(shown.cert), str(shown.key)),
            log_path=self.log_file,
            pid_path=self.pid_path,
        )

    async def _answers(self) -> bool:
        return True

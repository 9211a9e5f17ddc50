"""Apache ActiveMQ Artemis as the MQTT broker: MQTT 3.1.1 and 5 on one port, everything durable on disk."""

import asyncio
from importlib.resources import files
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

from ems_streams.dev.artemis_security import ArtemisSecurity
from ems_streams.dev.ports import LOOPBACK
from ems_streams.dev.private_files import write_private
from ems_streams.dev.process import Command
from ems_streams.dev.server import Server, within

_JVM = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1")
_MAIN = "org.apache.activemq.artemis.core.server.embedded.Main"
# CONNECT of MQTT 3.1.1: clean session, keep alive 5 s, an empty client id.
_CONNECT = bytes((0x10, 12, 0, 4)) + b"MQTT" + bytes((4, 2, 0, 5, 0, 0))
_DISCONNECT = bytes((0xE0, 0))

_LOGGING = """\
handlers = java.util.logging.ConsoleHandler
.level = INFO
# Every connection and message, otherwise.
org.apache.activemq.audit.level = OFF
java.util.logging.ConsoleHandler.level = INFO
# Every connection and message, otherwise.
org.apache.activemq.audit.level = OFF
java.util.logging.ConsoleHandler.formatter = java.util.logging.SimpleFormatter
java.util.logging.SimpleFormatter.format = %1$tFT%1$tT.%1$tL %4$s %3$s %5$s%6$s%n
"""


class Artemis(Server):
    """Artemis 2.44. Without security it takes anonymous clients, and any user name and password; payloads of many MiB.

    Args:
        java: Java binary.
        class_path: Artemis' jars, as `java -cp` wants them.
        security: Who may connect, and do what.
    """

    name = "mqtt"
    directory_name = "artemis"

    def __init__(self, port: int, data_dir: Path, java: Path, class_path: str, security: ArtemisSecurity | None = None) -> None:
        super().__init__(port, data_dir)
        self.security = security
        self._java = java
        self._class_path = class_path

    @property
    def url(self) -> str:
        return f"{'mqtt' if self.security is None else 'mqtts'}://{LOOPBACK}:{self.port}"

    async def _prepare(self) -> None:
        etc = self.directory / "etc"
        etc.mkdir(exist_ok=True)
        template = Template(files("ems_streams.dev.resources").joinpath("broker.xml").read_text(encoding="utf-8"))
        security = self.security
        if security is not None:
            security.write(etc)
        configuration = template.substitute(
            port=self.port,
            data=escape(str(self.directory / "data")),
            security_enabled="false" if security is None else "true",
            acceptor="" if security is None else escape(security.acceptor),
            security_settings="" if security is None else security.settings(),
        )
        # It has the password of the key store.
        write_private(etc / "broker.xml", configuration.encode())
        (self.directory / "logging.properties").write_text(_LOGGING)

    def _command(self) -> Command:
        login = () if self.security is None else (f"-Djava.security.auth.login.config={self.directory / 'etc' / 'login.config'}",)
        return Command(
            argv=(
                str(self._java), *_JVM, f"-Djava.util.logging.config.file={self.directory / 'logging.properties'}",
                *login, "-Djava.awt.headless=true", "-cp", self._class_path, _MAIN, str(self.directory),
            ),
            log_path=self.log_file,
            pid_path=self.pid_path,
            cwd=self.directory,
        )  # fmt: skip

    async def _answers(self) -> bool:
        # Whoever has no certificate can see no more of it than that it listens; it does so last.
        return True if self.security is not None else await within(2.0, self._connect)

    async def _connect(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(_CONNECT)
            answer = await reader.readexactly(4)
            writer.write(_DISCONNECT)
            await writer.drain()
            return answer[0] == 0x20 and answer[3] == 0
        finally:
            writer.close()

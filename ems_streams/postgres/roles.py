"""Users of the database with least rights, as statements for whoever administers it.

The sink owns what it writes: migrations and partitions are its own. The gateway may read, and nothing else. People who use
`ems-streams db` have a name of their own and act as the sink, so that what they make belongs to it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ITERATIONS: Final = 4096


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of the users."""

    sink: str = "ems_sink"
    reader: str = "ems_reader"
    operator: str = "ems_operator"

    def all(self) -> tuple[str, ...]:
        """In the order in which they are made."""
        return (self.sink, self.reader, self.operator)


def role_statements(database: str, roles: Roles, verifiers: Mapping[str, str] | None = None) -> list[str]:
    """Statements for the superuser, each on one line, in the database itself; they may be run again.

    Args:
        verifiers: What `scram_verifier` has made of each user's password; without it the users have none yet.
    """
    statements = []
    for name in roles.all():
        check = f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN CREATE ROLE {name} LOGIN; END IF;"
        statements.append(f"DO $$ BEGIN {check} END $$;")
    if verifiers is not None:
        statements += [f"ALTER ROLE {name} PASSWORD '{verifiers[name]}';" for name in roles.all()]
    return [
        *statements,
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC;",
        f"GRANT CONNECT ON DATABASE {database} TO {', '.join(roles.all())};",
        # The sink copies batches into tables of its session first.
        f"GRANT TEMPORARY ON DATABASE {database} TO {roles.sink};",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {roles.sink};",
        f"GRANT USAGE ON SCHEMA public TO {roles.reader};",
        # What the sink makes later can be read, too, and what it has made already.
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {roles.sink} IN SCHEMA public GRANT SELECT ON TABLES TO {roles.reader};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {roles.reader};",
        # Whatever goes wrong in the gateway, it writes nothing.
        f"ALTER ROLE {roles.reader} SET default_transaction_read_only = on;",
        f"GRANT {roles.sink} TO {roles.operator};",
        f"ALTER ROLE {roles.operator} SET role = '{roles.sink}';",
    ]


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores of a password (RFC 5803, SCRAM-SHA-256), so that the password itself is in no statement and no log.

    Args:
        password: ASCII; other texts would have to be normalized first.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"

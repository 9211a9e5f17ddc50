"""Connections to PostgreSQL: how they are made, and which of its errors are whose fault."""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import asyncpg

from ems_streams.errors import DependencyError
from ems_streams.settings import Settings

CONNECT_TIMEOUT_S = 5.0

SERVER_SETTINGS = {
    "timezone": "UTC",
    # A session of a process that is frozen, or has vanished without a word, must not hold its locks for long.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "10s",
    # Nor may what it has asked for go on, unwanted and in the way of who asks again. PostgreSQL 14.
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_TRUST = "sslrootcert in EMS_DATABASE_URL must be the authority that has signed it, and the host a name that it is for"

Connection = Any
"""asyncpg ships no types that a strict checker takes."""


async def connect(settings: Settings, application_name: str) -> Connection:
    """A connection; raises what `asyncpg.connect` raises, or `TimeoutError` after `CONNECT_TIMEOUT_S`."""
    return await asyncpg.connect(
        settings.database_url.get_secret_value(),
        timeout=CONNECT_TIMEOUT_S,
        server_settings={**SERVER_SETTINGS, "application_name": application_name},
    )


async def close(connection: Connection, timeout_s: float = 2.0) -> None:
    """Say good-bye if the server still listens; the connection is gone afterwards in any case."""
    try:
        async with asyncio.timeout(timeout_s):
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def server_certificate_end_s(connection: Connection) -> float | None:
    """When the certificate that the server has shown ends, in seconds since 1970; None without TLS, and where TLS does not verify it."""
    # There is no public way to what TLS has agreed upon.
    certificate = connection._transport.get_extra_info("peercert")
    return ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None


def own_certificate(settings: Settings) -> Path | None:
    """The file of the certificate that we show, by `sslcert` of the URL."""
    _, _, options = settings.database_url.get_secret_value().partition("?")
    named = parse_qs(options).get("sslcert")
    return Path(named[-1]) if named else None


def unreachable(settings: Settings, error: BaseException) -> DependencyError:
    """For people: where PostgreSQL was looked for, without the password, and what came of it."""
    return DependencyError(f"PostgreSQL cannot be used at {address(settings)} (EMS_DATABASE_URL): {summary(error)}")


def address(settings: Settings) -> str:
    """Host, port and database, without user and password, and without options, in which there may be passwords too."""
    url, _, options = settings.database_url.get_secret_value().partition("?")
    if "://" not in url or "@" in options.partition("=")[0]:
        # Whatever it is, it may be a password that was put into the wrong place, or one with a question mark in it.
        return "something that is no URL"
    return url.rpartition("@")[2] if "@" in url else url.rpartition("//")[2]


def summary(error: BaseException) -> str:
    """An error in one line; the first one says it, and many have no text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({error.verify_message.rstrip('.')}): {_TRUST}"
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError) and "no encryption" in said:
        return f"{said}; the server takes TLS only: add ?sslmode=verify-full&sslrootcert=FILE to EMS_DATABASE_URL"
    return said


_AT_FAULT_IS_THE_DATA = (
    asyncpg.DataError,  # class 22, such as a NUL in a text
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.ProgramLimitExceededError,  # class 54, such as a key that is too large for its index
    asyncpg.CardinalityViolationError,
    # The driver's own, before anything is sent: a number, a time or a text that has no form in PostgreSQL.
    ValueError,
    TypeError,
    OverflowError,
)


def blames_the_data(error: BaseException) -> bool:
    """Whether the rows can never be written: a server that is away, full, locked or wrongly set up is no fault of theirs."""
    if isinstance(error, asyncpg.CheckViolationError):
        return not lacks_partition(error)
    # A certificate that is not trusted, and an address with a mistake in it, are `ValueError` as well.
    if isinstance(error, OSError | asyncpg.ClientConfigurationError):
        return False
    return isinstance(error, _AT_FAULT_IS_THE_DATA)


def lacks_partition(error: BaseException) -> bool:
    """Whether a row found no partition: retention, or an operator, has removed it between the look and the write."""
    return isinstance(error, asyncpg.CheckViolationError) and "no partition of relation" in str(error)


SERVER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What the driver says when the server has ended the session while this process was frozen.
    asyncpg.InternalClientError,
)
"""Whatever talking to the server can raise; what is not the data's fault is waited out."""

WRITE_ERRORS: tuple[type[Exception], ...] = (*SERVER_ERRORS, ValueError, TypeError, OverflowError)
"""Whatever writing rows can raise."""

"""Whose fault an error is: only the data's own may put a record aside."""

import ssl
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from ems_streams.postgres.connection import address, blames_the_data, lacks_partition, own_certificate
from ems_streams.settings import Settings


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UntranslatableCharacterError("NUL"),
        asyncpg.NumericValueOutOfRangeError("out of range"),
        asyncpg.NotNullViolationError("null"),
        asyncpg.ProgramLimitExceededError("index row size"),
        asyncpg.exceptions.DataError("invalid input"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        OverflowError("int too big"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_data_is_at_fault(error: Exception) -> None:
    assert blames_the_data(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UndefinedTableError("relation does not exist"),
        asyncpg.InsufficientPrivilegeError("permission denied"),
        asyncpg.DiskFullError("no space left on device"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.ReadOnlySQLTransactionError("read-only"),
        asyncpg.InvalidPasswordError("password"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.CheckViolationError('no partition of relation "device_aggregates" found for row'),
        ConnectionResetError(),
        TimeoutError(),
        # These two are `ValueError` as well.
        ssl.SSLCertVerificationError("certificate has expired"),
        asyncpg.ClientConfigurationError("sslrootcert"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_server_is_waited_for(error: Exception) -> None:
    assert not blames_the_data(error)


def test_a_partition_that_is_gone_is_told_from_a_check_that_fails() -> None:
    assert lacks_partition(asyncpg.CheckViolationError('no partition of relation "notifications" found for row'))
    assert not lacks_partition(asyncpg.CheckViolationError("violates check constraint"))


def test_the_address_has_no_password() -> None:
    assert address(Settings(database_url=SecretStr("postgresql://ems:secret@db:5432/ems"))) == "db:5432/ems"


def test_the_address_has_no_secret_wherever_it_was_put() -> None:
    for url in (
        "postgresql://db/ems?user=ems&password=secret",
        "secret",
        "secret:secret",
        "postgresql://ems:se@cret@db/ems?sslpassword=secret",
        "postgresql://ems:cret?word@db/ems",
        "postgresql://ems:cret?word@db/ems?sslmode=require",
    ):
        assert "cret" not in address(Settings(database_url=SecretStr(url)))


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ("", None),
        ("?sslmode=verify-full", None),
        ("?sslmode=verify-full&sslcert=%2Fetc%2Fems%2Fsink.pem&sslkey=k", Path("/etc/ems/sink.pem")),
    ],
)
def test_the_certificate_that_we_show_is_named_by_the_url(options: str, file: Path | None) -> None:
    assert own_certificate(Settings(database_url=SecretStr(f"postgresql://ems:secret@db:5432/ems{options}"))) == file

"""PostgreSQL by TLS only, with a user for each who needs one: every way that our processes connect."""

import uuid
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from ems_streams.errors import DependencyError
from ems_streams.postgres.connection import address, close, connect, server_certificate_end_s, summary, unreachable
from ems_streams.postgres.migrate import migrate, schema_version
from ems_streams.postgres.reader import HistoryReader
from ems_streams.processes.doctor.run import diagnose
from ems_streams.settings import Settings
from tests.integration.secure_servers.conftest import DATABASE_PASSWORDS, Secured

pytestmark = pytest.mark.integration


def settings(secured: Secured, user: str = "ems_sink", **changed: str) -> Settings:
    """As that user; `changed` replaces parts of the URL."""
    url = secured.stack.postgres.url_of(user, DATABASE_PASSWORDS[user])
    for old, new in changed.items():
        assert PARTS[old] in url
        url = url.replace(PARTS[old], new)
    return Settings.load(database_url=url)


PARTS = {"password": "sink-secret", "mode": "sslmode=verify-full", "host": "@127.0.0.1"}


def with_ca(secured: Secured, ca: str) -> Settings:
    return Settings.load(database_url=secured.stack.postgres.url_of("ems_sink", "sink-secret").rpartition("=")[0] + "=" + quote(ca))


async def connection(secured: Secured, user: str) -> Any:
    return await connect(settings(secured, user), "test")


@pytest.fixture
async def migrated(secured: Secured) -> Secured:
    await migrate(settings(secured))
    return secured


async def test_the_sink_makes_its_tables_by_tls(migrated: Secured) -> None:
    version = await schema_version(settings(migrated))
    assert version.current == version.head
    sink = await connection(migrated, "ems_sink")
    try:
        assert sink._transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert await sink.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'device_aggregates'") == "ems_sink"
    finally:
        await close(sink)


async def test_the_gateway_reads_and_writes_nothing(migrated: Secured) -> None:
    reader = HistoryReader(settings(migrated, "ems_reader"), "test", 5.0)
    try:
        assert await reader.read(lambda each: each.fetchval("SELECT count(*) FROM device_aggregates")) is not None, reader.failure
    finally:
        await reader.close()
    # That its transactions are read-only by default is a courtesy; what it may not do must hold without it.
    writing = await connection(migrated, "ems_reader")
    try:
        await writing.execute("SET default_transaction_read_only = off")
        for statement in (
            "INSERT INTO sink_offsets SELECT * FROM sink_offsets",
            "DELETE FROM notifications",
            "CREATE TABLE mine (number int)",
            "CREATE TEMPORARY TABLE mine (number int)",
            "DROP TABLE notifications",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writing.execute(statement)
    finally:
        await close(writing)


async def test_what_an_operator_makes_belongs_to_the_sink(migrated: Secured) -> None:
    name = f"made_{uuid.uuid4().hex[:8]}"
    operator = await connection(migrated, "ems_operator")
    try:
        await operator.execute(f"CREATE TABLE {name} (number int)")
        assert await operator.fetchval(f"SELECT tableowner FROM pg_tables WHERE tablename = '{name}'") == "ems_sink"
    finally:
        await close(operator)
    sink = await connection(migrated, "ems_sink")
    try:
        await sink.execute(f"DROP TABLE {name}")
    finally:
        await close(sink)


async def test_no_user_of_ours_is_more_than_that(migrated: Secured) -> None:
    sink = await connection(migrated, "ems_sink")
    try:
        rows = await sink.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ems\\_%' AND (rolsuper OR rolcreaterole OR rolcreatedb)")
        assert rows == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await sink.execute("CREATE DATABASE another")
    finally:
        await close(sink)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong-one"}, "InvalidPasswordError: password authentication failed"),
        ({"mode": "sslmode=disable"}, "the server takes TLS only: add ?sslmode=verify-full"),
    ],
)
async def test_a_refusal_says_why(secured: Secured, changed: dict[str, str], words: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connect(settings(secured, **changed), "test")
    print(summary(refused.value))
    assert words in summary(refused.value)
    assert "wrong-one" not in str(unreachable(settings(secured, **changed), refused.value))


async def test_a_server_of_another_authority_is_not_trusted(secured: Secured) -> None:
    other = secured.directory / "stranger.pem"
    other.write_bytes(secured.stranger.cert_pem.bytes())
    wrong = with_ca(secured, str(other))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED") as refused:
        await connect(wrong, "test")
    error = unreachable(wrong, refused.value)
    assert isinstance(error, DependencyError)
    assert "the server's certificate is not trusted" in str(error)
    assert "sslrootcert in EMS_DATABASE_URL" in str(error)
    assert str(other) not in str(error).partition(":")[0]


async def test_a_server_under_another_name_is_not_trusted(secured: Secured) -> None:
    """With verify-full the name counts: 0.0.0.0 leads to the same server, and its certificate is not for that."""
    with pytest.raises(OSError, match=r"CERTIFICATE_VERIFY_FAILED.*mismatch"):
        await connect(settings(secured, host="@0.0.0.0"), "test")


@pytest.mark.parametrize("user", ["ems_sink", "ems_operator"])
async def test_doctor_is_content_with_tls(migrated: Secured, user: str) -> None:
    diagnosis = await diagnose(settings(migrated, user), ["postgres", "schema"])
    assert [each.code for each in diagnosis.findings] == []


async def test_doctor_names_certificates_that_run_out(migrated: Secured) -> None:
    used = settings(migrated)
    sink = await connect(used, "test")
    end_s = server_certificate_end_s(sink)
    await close(sink)
    assert end_s is not None
    diagnosis = await diagnose(used, ["postgres"], now_s=lambda: end_s - 10 * 86_400)
    (found,) = [each for each in diagnosis.findings if each.code == "tls-expiring"]
    assert found.what == f"the certificate of {address(used)} runs out"
    assert "10.0 days left" in found.found


async def test_doctor_names_what_is_wrong_with_tls(secured: Secured) -> None:
    other = secured.directory / "stranger.pem"
    other.write_bytes(secured.stranger.cert_pem.bytes())
    for wrong in (with_ca(secured, str(other)), with_ca(secured, "/nowhere.pem")):
        diagnosis = await diagnose(wrong, ["postgres"])
        assert [each.code for each in diagnosis.findings] == ["postgres-tls"]
    plain = await diagnose(settings(secured, mode="sslmode=disable"), ["postgres"])
    assert [each.code for each in plain.findings] == ["postgres-login"]
    assert "the server takes TLS only" in plain.findings[0].found

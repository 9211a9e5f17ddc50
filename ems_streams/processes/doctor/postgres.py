"""Checks of PostgreSQL: reached, logged in, new enough; its schema, its clock, and whether we may write."""

import socket
import ssl
from typing import Any

import asyncpg

from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding, some
from ems_streams.ops.doctor.host_findings import clock_findings, size
from ems_streams.postgres.connection import address, close, connect, own_certificate, server_certificate_end_s, summary
from ems_streams.postgres.migrate import MigrationError, SchemaVersion, schema_version
from ems_streams.postgres.schema import TABLES
from ems_streams.processes.doctor.certificates import expiring, good_for, own_ends
from ems_streams.processes.doctor.context import Context

VERSION_MIN = 14
CONNECTIONS_SHARE = 0.9
_SETTING = "EMS_DATABASE_URL"
_LOOK = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
  extract(epoch FROM clock_timestamp())::float8 AS now_s, current_setting('max_connections')::int AS connections_max,
  (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections, pg_database_size(current_database()) AS bytes
"""
_MAY_NOT = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(name, $2)"
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def check_postgres(context: Context) -> Report:
    """Whether it takes us, how new it is, what its clock says, and how long certificates are good."""
    where = address(context.settings)
    try:
        connection = await connect(context.settings, "ems-doctor")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return Report([_unusable(where, error)], {"server": where}, usable=False)
    try:
        before_s = context.now_s()
        row = await connection.fetchrow(_LOOK)
        took_s = context.now_s() - before_s
        shown_end_s = server_certificate_end_s(connection)
    finally:
        await close(connection)
    findings: list[Finding] = list(clock_findings("PostgreSQL", row["now_s"] - (before_s + took_s / 2), took_s / 2))
    if row["major"] < VERSION_MIN:
        findings.append(finding("postgres-old", "PostgreSQL is too old", found=row["version"], expected=f"{VERSION_MIN} or later"))
    if row["connections"] >= row["connections_max"] * CONNECTIONS_SHARE:
        found = f"{row['connections']} of {row['connections_max']} in use"
        findings.append(finding("postgres-connections", "hardly a connection is left", found=found, expected="a tenth of them free"))
    ends = own_ends({"sslcert in EMS_DATABASE_URL": own_certificate(context.settings)})
    if shown_end_s is not None:
        ends[where] = shown_end_s
    findings += expiring(ends, context.now_s())
    ahead_ms = round((row["now_s"] - (before_s + took_s / 2)) * 1000)
    facts = {"server": where, "postgres": row["version"], "size": size(row["bytes"]), "clockAheadMs": ahead_ms}
    facts |= good_for(ends, context.now_s())
    return Report(findings, facts)


async def check_schema(context: Context) -> Report:
    """Whether the schema is that of this release, and we may write it."""
    try:
        version = await schema_version(context.settings)
    except MigrationError as error:
        return Report(
            [finding("schema-newer", "the schema is none of this release", found=str(error), expected="a revision of this release")]
        )
    except asyncpg.InsufficientPrivilegeError as error:
        return Report([finding("postgres-rights", "the user may not read the tables", found=summary(error), expected="all rights on them")])
    facts = {"schema": version.current or "none", "release": version.head}
    if version.current != version.head:
        return Report([_schema(version)], facts)
    connection = await connect(context.settings, "ems-doctor")
    try:
        refused = await _refused(connection)
    finally:
        await close(connection)
    if not refused:
        return Report(facts=facts)
    what = "the user may not write the tables"
    return Report(
        [finding("postgres-rights", what, found=f"not all of {', '.join(_RIGHTS)} on {some(refused)}", expected="all of them")], facts
    )


async def _refused(connection: Any) -> list[str]:
    tables = [*(table.name for table in TABLES), "sink_offsets"]
    names: list[str] = []
    for right in _RIGHTS:
        names += [row["name"] for row in await connection.fetch(_MAY_NOT, tables, right)]
    return sorted(set(names))


def _schema(version: SchemaVersion) -> Finding:
    if version.current is None:
        return finding("schema-missing", "the database has none of our tables", found="no schema", expected=f"revision {version.head}")
    if version.current > version.head:
        return finding("schema-newer", "the schema is that of a later release", found=version.current, expected=version.head)
    return finding("schema-old", "the schema is that of an earlier release", found=version.current, expected=version.head)


def _unusable(where: str, error: BaseException) -> Finding:
    host = where.partition("/")[0].rpartition(":")[0].strip("[]") or where
    found = summary(error)
    if isinstance(error, socket.gaierror):
        return finding("dns-unknown", f"{host} has no address", found=str(error), expected=f"an address for {host}", setting=_SETTING)
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return finding("postgres-full", f"PostgreSQL at {where} takes no more connections", found=found, expected="a connection")
    if isinstance(error, asyncpg.UndefinedObjectError) and "configuration parameter" in str(error):
        # A server refuses a session that sets what it does not know, before it says how old it is.
        return finding("postgres-old", "PostgreSQL is too old", found=found, expected=f"{VERSION_MIN} or later")
    if isinstance(error, ssl.SSLError | ssl.CertificateError | asyncpg.ClientConfigurationError) or _unreadable(error) or _no_tls(error):
        return finding(
            "postgres-tls", f"PostgreSQL at {where} cannot be used by TLS", found=found, expected="a certificate that is trusted"
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        database = where.partition("/")[2].partition("?")[0]
        return finding("postgres-database", f"there is no database {database!r}", found=found, expected="the database", database=database)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return finding("postgres-login", f"PostgreSQL at {where} refuses the login", found=found, expected="a login that it takes")
    return finding("postgres-unreachable", f"PostgreSQL at {where} does not answer", found=found, expected="a connection")


def _no_tls(error: BaseException) -> bool:
    """Whether the server has said that it has no TLS; asyncpg has no class for it."""
    return isinstance(error, ConnectionError) and "SSL upgrade" in str(error)


def _unreadable(error: BaseException) -> bool:
    """Whether a file that the URL names is the trouble, and not the network."""
    return isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)

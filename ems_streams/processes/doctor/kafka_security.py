"""Checks of what Kafka lets us do: certificates, what our principal lacks for the process that it is, and ACLs of all of ours."""

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Any

from ems_streams.errors import EmsError
from ems_streams.kafka.acls import NoAuthorizerError, plan_acls
from ems_streams.kafka.own_rights import own_rights, who
from ems_streams.kafka.security import tls_context
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding, some
from ems_streams.pem_files import common_name, expires_at
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.rights import Role, acls_of, groups_of, topics_of
from ems_streams.settings import Settings

CONNECT_TIMEOUT_S = 5.0
CERTIFICATE_DAYS_MIN = 30
_DAY_S = 86_400


def role_of(settings: Settings) -> Role | None:
    """Whose principal the settings are of, by its name; None for any other, and for nobody."""
    names = [settings.kafka_username]
    if settings.kafka_username is None and settings.kafka_cert_file is not None:
        # By the broker's rules a certificate's name is the common name alone, or all of it.
        name = common_name(settings.kafka_cert_file)
        names = [name, f"CN={name}"]
    principals = {f"{settings.kafka_principal_prefix}{role}": role for role in Role}
    return next((principals[name] for name in names if name in principals), None)


async def check_kafka_tls(context: Context) -> Report:
    """Whether Kafka's certificate, and our own, are good for some time yet; nothing without TLS."""
    settings = context.settings
    if not settings.kafka_over_tls:
        return Report(facts={"kafka": "without TLS"})
    ends = {}
    if settings.kafka_cert_file is not None and (own := expires_at(settings.kafka_cert_file)) is not None:
        ends[f"EMS_KAFKA_CERT_FILE={settings.kafka_cert_file}"] = own.timestamp()
    for server in settings.kafka_bootstrap_servers.split(","):
        # One that does not answer, or is not trusted, is what the check of Kafka says.
        if (theirs := await _certificate_ends_s(server.strip(), settings)) is not None:
            ends[server.strip()] = theirs
    now_s = context.now_s()
    findings = [_expiring(name, ends_s, now_s) for name, ends_s in ends.items() if ends_s - now_s < CERTIFICATE_DAYS_MIN * _DAY_S]
    return Report(findings, {name: f"certificate for {(ends_s - now_s) / _DAY_S:.0f} days" for name, ends_s in ends.items()})


async def check_acls(context: Context) -> Report:
    """What our principal lacks for the process that it is and, for the admin's, whether all of ours have their rights; nothing without a login."""
    settings = context.settings
    role = role_of(settings)
    if role is None:
        return Report(facts={"principal": who(settings)})
    facts: dict[str, Any] = {"principal": f"{settings.kafka_principal_prefix}{role}"}
    findings = await _lacking(settings, role)
    if role is Role.ADMIN:
        more, known = await _of_all(settings)
        findings += more
        facts |= known
    return Report(findings, facts)


async def _lacking(settings: Settings, role: Role) -> list[Finding]:
    found = await own_rights(settings, topics_of(role, settings), groups_of(role, settings))
    return [
        finding(
            "acls-lacking",
            f"{who(settings)} lacks rights of the role {role}",
            found=f"not {operation} on {some(names)}",
            expected=f"{operation} on {len(names)} more",
        )
        for operation, names in found.by_operation().items()
    ]


async def _of_all(settings: Settings) -> tuple[list[Finding], dict[str, Any]]:
    try:
        plan = await plan_acls(settings, acls_of(settings))
    except NoAuthorizerError:
        return [
            finding("kafka-no-authorizer", "Kafka lets everybody do everything", found="no authorizer", expected="a StandardAuthorizer")
        ], {"acls": "none"}
    except EmsError as error:
        return [], {"acls": str(error)}
    findings = []
    if plan.missing:
        whose = sorted({each.principal for each in plan.missing})
        findings.append(
            finding(
                "acls-missing", "rights are missing", found=f"{len(plan.missing)} of {some(whose)}", expected="those that are generated"
            )
        )
    if plan.superfluous:
        whose = sorted({each.principal for each in plan.superfluous})
        what = "principals of ours have rights that they do not need"
        findings.append(finding("acls-superfluous", what, found=f"{len(plan.superfluous)} of {some(whose)}", expected="none"))
    return findings, {"acls": len(plan.present)}


def _expiring(name: str, ends_s: float, now_s: float) -> Finding:
    left = f"{(ends_s - now_s) / _DAY_S:.1f} days left, until {datetime.fromtimestamp(ends_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    what = f"the certificate of {name} runs out"
    return finding("tls-expiring", what, found=left, expected=f"at least {CERTIFICATE_DAYS_MIN}", address=name)


async def _certificate_ends_s(server: str, settings: Settings) -> float | None:
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls_context(settings))
    except (OSError, TimeoutError):
        return None
    try:
        return ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"])
    finally:
        writer.transport.abort()

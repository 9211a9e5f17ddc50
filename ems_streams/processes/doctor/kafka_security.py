"""Checks of what Kafka lets us do: certificates, what our principal lacks for the process that it is, and ACLs of all of ours."""

import contextlib
from typing import Any

from ems_streams.errors import EmsError
from ems_streams.kafka.acls import NoAuthorizerError, plan_acls
from ems_streams.kafka.own_rights import own_rights, who
from ems_streams.kafka.security import tls_context
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding, some
from ems_streams.pem_files import common_name
from ems_streams.processes.doctor.certificates import expiring, good_for, own_ends, shown_end_s
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.rights import Role, acls_of, groups_of, topics_of
from ems_streams.settings import Settings


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
    ends = own_ends({"EMS_KAFKA_CERT_FILE": settings.kafka_cert_file})
    for server in map(str.strip, settings.kafka_bootstrap_servers.split(",")):
        host, _, port = server.rpartition(":")
        # One that does not answer, or is not trusted, is what the check of Kafka says.
        with contextlib.suppress(OSError):
            ends[server] = await shown_end_s(host.strip("[]"), int(port), tls_context(settings))
    now_s = context.now_s()
    return Report(expiring(ends, now_s), good_for(ends, now_s))


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

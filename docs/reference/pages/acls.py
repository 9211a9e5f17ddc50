"""acls.md: the rights of every role on Kafka, from `ems_streams/processes/rights.py`."""

from collections.abc import Iterable

from ems_streams.kafka.acls import Resource
from ems_streams.processes.rights import Right, Role, rights_of
from ems_streams.settings import Settings

INTRODUCTION = """\
# Rights on Kafka

Made from `ems_streams/processes/rights.py`. `ems-streams acls plan` compares a cluster with it, `acls apply` [gives the rights](../howto/security-kafka.md#rights).
Names that begin with `{application_id}` are after `EMS_APPLICATION_ID`; principals begin with `EMS_KAFKA_PRINCIPAL_PREFIX`, here its default, `{prefix}`. A star
at the end of a name is a prefixed ACL. READ, WRITE and DELETE imply DESCRIBE, ALTER_CONFIGS implies DESCRIBE_CONFIGS.

"""
_HEADINGS = {
    Role.INGRESS: "`ems-streams ingress`",
    Role.WORKER: "`ems-streams worker`",
    Role.SINK: "`ems-streams sink`",
    Role.GATEWAY: "`ems-streams gateway`",
    Role.NOTIFIER: "`ems-streams notifier`",
    Role.OPERATOR: "people, for `devices`, `rules`, `maintenance`, `dlt`, `replay`, `backfill` and `topics list|describe|tail`",
    Role.ADMIN: "people, for `topics plan|apply`, `acls` and `doctor`",
}


def page() -> str:
    """Every right in Markdown, for the default application id; rights with one reason on one line."""
    settings = Settings.model_construct()
    text = INTRODUCTION.format(application_id=settings.application_id, prefix=settings.kafka_principal_prefix)
    return text + "\n".join(_section(role, settings) for role in Role)


def _section(role: Role, settings: Settings) -> str:
    rights = rights_of(role, settings)
    return (
        f"## {role}\n\n`User:{settings.kafka_principal_prefix}{role}`, {len(rights)} ACLs: {_HEADINGS[role]}.\n\n"
        "| operation | on | names | for |\n|---|---|---|---|\n"
    ) + "".join(_rows(rights))


def _rows(rights: Iterable[Right]) -> Iterable[str]:
    lines: dict[tuple[Resource, str, str], list[str]] = {}
    for right in rights:
        lines.setdefault((right.resource, right.operation, right.why), []).append(f"`{right.name}{'*' if right.prefixed else ''}`")
    for (resource, operation, why), names in lines.items():
        yield f"| {operation} | {resource.lower().replace('_', ' ')} | {', '.join(sorted(names))} | {why} |\n"

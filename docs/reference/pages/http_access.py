"""http-access.md: who may ask for which route of the gateway, as its guard has it."""

from ems_streams.access.roles import Role
from ems_streams.gateway.security.access import ACCESS, Access, Scope

INTRODUCTION = """\
# Who may ask the gateway for what

Made from the table that the gateway decides by (`ems_streams/gateway/security/access.py`); what is not in it is denied to everybody. Each role may do what those
before it may: viewer, operator, admin. The last column is what a token for some sites only gets; what is of another site is answered as if it were not there. How to make tokens is in
[the how-to](../howto/security-gateway.md).

| route | viewer | operator | admin | without a token | with a token for some sites |
|---|---|---|---|---|---|
"""
WORDS = {
    Scope.PUBLIC: "the same",
    Scope.PROBE: "which checks pass; only a token for every site is told what they have seen",
    Scope.NO_SITES: "the same, without counts over all sites",
    Scope.FILTERED: "what is of its sites",
    Scope.DEVICE: "devices of its sites, else 404",
    Scope.SITE: "its sites, else 404",
    Scope.COMMAND: "commands of devices of its sites, else 404",
    Scope.EVERY_SITE: "nothing: 403",
}


def page() -> str:
    """The table in Markdown."""
    return INTRODUCTION + "".join(_row(route, access) for route, access in ACCESS.items())


def _row(route: str, access: Access) -> str:
    may = ["yes" if access.role is None or role.covers(access.role) else "403" for role in Role]
    nobody = "yes" if access.role is None else "401"
    return f"| `{route}` | {' | '.join(may)} | {nobody} | {WORDS[access.scope]} |\n"

"""Which ACLs a broker has decided by, from its audit log: those that nothing has used are not shown to be needed."""

import re
from collections.abc import Iterable
from pathlib import Path

from ems_streams.kafka.acls import Acl

_DECISION = re.compile(
    r"Principal = (?P<principal>\S+) is Allowed operation = (?P<asked>\w+) from host = \S+ on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+) for"
)
_KINDS = {"Topic": "TOPIC", "Group": "GROUP", "TransactionalId": "TRANSACTIONAL_ID", "Cluster": "CLUSTER"}


def used(log: Path) -> set[tuple[str, str, str, str]]:
    """Principal, kind and name of a resource, and operation, of everything that was allowed."""
    found = set()
    with log.open(errors="replace") as lines:
        for line in lines:
            if "is Allowed" in line and (match := _DECISION.search(line)):
                found.add((match["principal"], _KINDS.get(match["kind"], match["kind"]), match["name"], match["asked"]))
    return found


def unproven(acls: Iterable[Acl], log: Path) -> list[Acl]:
    """Those of the ACLs without which everything that was asked for would have been allowed as well."""
    decisions = used(log)
    return sorted(acl for acl in acls if not any(_needs(acl, *decision) for decision in decisions))


def _needs(acl: Acl, principal: str, kind: str, name: str, asked: str) -> bool:
    same = name.startswith(acl.name) if acl.prefixed else name == acl.name
    return same and (acl.principal, acl.resource, acl.operation) == (principal, kind, asked)

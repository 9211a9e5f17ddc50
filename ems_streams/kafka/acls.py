"""Rights of our principals on a cluster: compare with what they should be, give and take them. The rights themselves are `ems_streams.processes.rights`.

Only ACLs of our own principals are ever looked at: those of others, and of wildcards, are none of our business.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka.admin import REQUEST_TIMEOUT_S, RefusedError, client_config, result_of
from ems_streams.kafka.own_rights import who
from ems_streams.kafka.refusals import raise_if_refused
from ems_streams.kafka.settling import settles
from ems_streams.settings import Settings

T = TypeVar("T")

CLUSTER_NAME: Final = "kafka-cluster"
"""What Kafka calls the one resource of the kind CLUSTER."""


class Resource(StrEnum):
    """What a right is on, as Kafka names it."""

    TOPIC = "TOPIC"
    GROUP = "GROUP"
    TRANSACTIONAL_ID = "TRANSACTIONAL_ID"
    CLUSTER = "CLUSTER"


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One right of one principal.

    Attributes:
        principal: As Kafka names it, such as `User:ems-worker`.
        resource: Kind of what the right is on.
        name: Its name, or the beginning of its name.
        prefixed: Whether it is on everything that begins with the name.
        operation: Such as READ.
        host: From where; `*` for everywhere.
        allowed: False for an ACL that denies, which are none of ours.
    """

    principal: str
    resource: str
    name: str
    prefixed: bool
    operation: str
    host: str = "*"
    allowed: bool = True

    def view(self) -> dict[str, object]:
        """As JSON."""
        return {
            "principal": self.principal,
            "resource": self.resource,
            "name": self.name,
            "pattern": "PREFIXED" if self.prefixed else "LITERAL",
            "operation": self.operation,
            "host": self.host,
            "permission": "ALLOW" if self.allowed else "DENY",
        }


@dataclass(frozen=True, slots=True)
class AclPlan:
    """How a cluster differs from what it should be, for our principals.

    Attributes:
        missing: Rights that they lack.
        superfluous: Rights that they have and do not need, and what denies them something.
        present: Rights that are as they should be.
    """

    missing: tuple[Acl, ...]
    superfluous: tuple[Acl, ...]
    present: tuple[Acl, ...]


class NoAuthorizerError(EmsError):
    """The cluster has no ACLs at all."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"Kafka at {settings.kafka_bootstrap_servers} has no authorizer: everybody may do everything, and ACLs cannot be kept; set "
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer on every broker and controller"
        )


def compare(wanted: Iterable[Acl], found: Iterable[Acl], principals: Iterable[str]) -> AclPlan:
    """What is missing and what is superfluous; found ones of other principals are left out."""
    ours, should, there = set(principals), set(wanted), set(found)
    return AclPlan(
        missing=tuple(sorted(should - there)),
        superfluous=tuple(sorted(each for each in there - should if each.principal in ours)),
        present=tuple(sorted(should & there)),
    )


async def plan_acls(settings: Settings, wanted: Sequence[Acl]) -> AclPlan:
    """Compare the cluster with what is wanted, for the principals of `wanted`. Raises `NoAuthorizerError`, `EmsError` or `DependencyError`."""
    return await asyncio.to_thread(_plan, AdminClient(client_config(settings)), settings, wanted)


async def apply_acls(settings: Settings, wanted: Sequence[Acl], *, prune: bool = False) -> AclPlan:
    """Give what is missing and, only with `prune`, take what is superfluous; returns the plan that was carried out. Safe to run again.

    When it returns, the broker that was asked goes by it. Raises what `plan_acls` raises.
    """
    return await asyncio.to_thread(_apply, settings, wanted, prune)


def _plan(client: AdminClient, settings: Settings, wanted: Sequence[Acl]) -> AclPlan:
    raise_if_refused(settings)
    _check_may_see(client, settings)
    plan = _compare(client, settings, wanted)
    if not plan.present and not plan.superfluous:
        _check_authorizer(client, settings)
    return plan


def _compare(client: AdminClient, settings: Settings, wanted: Sequence[Acl]) -> AclPlan:
    principals = sorted({each.principal for each in wanted})
    return compare(wanted, [acl for principal in principals for acl in _found(client, settings, principal)], principals)


def _apply(settings: Settings, wanted: Sequence[Acl], prune: bool) -> AclPlan:
    client = AdminClient(client_config(settings))
    plan = _plan(client, settings, wanted)
    if plan.missing:
        created = client.create_acls([_binding(each) for each in plan.missing], request_timeout=REQUEST_TIMEOUT_S)
        for future in created.values():
            _answer(future, "give rights (ALTER on the cluster)", settings)
    if prune and plan.superfluous:
        deleted = client.delete_acls([_filter_of(each) for each in plan.superfluous], request_timeout=REQUEST_TIMEOUT_S)
        for future in deleted.values():
            _answer(future, "take rights away (ALTER on the cluster)", settings)
    _wait_until_in_force(client, settings, wanted, given=set(plan.missing), taken=set(plan.superfluous) if prune else set())
    return plan


def _wait_until_in_force(client: AdminClient, settings: Settings, wanted: Sequence[Acl], *, given: set[Acl], taken: set[Acl]) -> None:
    # The controller has agreed; the broker that is asked next learns of it a moment later.
    left: set[Acl] = set()

    def in_force() -> bool:
        now = _compare(client, settings, wanted)
        left.clear()
        left.update(given.intersection(now.missing), taken.intersection(now.superfluous))
        return not left

    if (given or taken) and not settles(in_force, REQUEST_TIMEOUT_S):
        names = ", ".join(sorted({each.principal for each in left}))
        raise EmsError(f"applied, but not in force after {REQUEST_TIMEOUT_S:.0f} s: {len(left)} rights of {names}")


def _check_may_see(client: AdminClient, settings: Settings) -> None:
    """Raise `EmsError` unless we may see ACLs: to a question for them the client gives none instead of the refusal."""
    cluster = result_of(
        client.describe_cluster(include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S), "look at the cluster", settings
    )
    # Who may not look at the cluster is told of no operation at all.
    if AclOperation.DESCRIBE not in (cluster.authorized_operations or ()):
        raise _not_allowed("see who has which rights (DESCRIBE on the cluster)", settings)


def _check_authorizer(client: AdminClient, settings: Settings) -> None:
    """Raise `NoAuthorizerError` if there are no ACLs because there can be none: only who wants to change them is told."""
    nobody = _filter(f"User:{uuid.uuid4().hex}")
    with contextlib.suppress(DependencyError):
        for future in client.delete_acls([nobody], request_timeout=REQUEST_TIMEOUT_S).values():
            try:
                result_of(future, "look for an authorizer", settings)
            except RefusedError as error:
                if error.code == KafkaError.SECURITY_DISABLED:
                    raise NoAuthorizerError(settings) from None


def _not_allowed(what: str, settings: Settings) -> EmsError:
    # The usual advice, to give the right with this very command, is none here.
    return EmsError(f"Kafka does not allow {who(settings)} to {what}; run it as a super user, or as the principal of `admin`")


def _filter(principal: str) -> AclBindingFilter:
    anything: Any = None  # what the client documents, and its types do not say
    return AclBindingFilter(
        ResourceType.ANY, anything, ResourcePatternType.ANY, principal, anything, AclOperation.ANY, AclPermissionType.ANY
    )


def _found(client: AdminClient, settings: Settings, principal: str) -> list[Acl]:
    future = client.describe_acls(_filter(principal), request_timeout=REQUEST_TIMEOUT_S)
    return [_acl(each) for each in _answer(future, "see who has which rights (DESCRIBE on the cluster)", settings)]


def _answer(future: "Future[T]", what: str, settings: Settings) -> T:
    try:
        return result_of(future, what, settings)
    except RefusedError as error:
        if error.code == KafkaError.SECURITY_DISABLED:
            raise NoAuthorizerError(settings) from None
        if error.code == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            raise _not_allowed(what, settings) from None
        raise


def _acl(binding: AclBinding) -> Acl:
    # Enums by now, whatever they were made from.
    kind, operation = cast(ResourceType, binding.restype), cast(AclOperation, binding.operation)
    return Acl(
        principal=binding.principal,
        resource=Resource.CLUSTER if kind is ResourceType.BROKER else kind.name,
        name=binding.name,
        prefixed=binding.resource_pattern_type is ResourcePatternType.PREFIXED,
        operation=operation.name,
        host=binding.host,
        allowed=binding.permission_type is AclPermissionType.ALLOW,
    )


def _arguments(acl: Acl) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    return (
        # Kafka's CLUSTER is called BROKER by this client.
        ResourceType.BROKER if acl.resource == Resource.CLUSTER else ResourceType[acl.resource],
        acl.name,
        ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL,
        acl.principal,
        acl.host,
        AclOperation[acl.operation],
        AclPermissionType.ALLOW if acl.allowed else AclPermissionType.DENY,
    )


def _binding(acl: Acl) -> AclBinding:
    return AclBinding(*_arguments(acl))


def _filter_of(acl: Acl) -> AclBindingFilter:
    return AclBindingFilter(*_arguments(acl))

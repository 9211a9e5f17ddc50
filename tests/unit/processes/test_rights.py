"""The rights of each role: complete by what the code publishes and reads, and no more than that."""

import ast
from pathlib import Path

import pytest

import ems_streams.kafka.catalogue as names
from ems_streams.channels.changelog import notifier_group
from ems_streams.kafka.acls import Acl, Resource, compare
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.processes.rights import WORKER_OUTPUTS, Role, acls_of, groups_of, principal_of, rights_of, topics_of
from ems_streams.settings import Settings

ROOT = Path(__file__).parents[3]
SETTINGS = Settings.model_construct(application_id="app", kafka_principal_prefix="ems-", partitions=2)


def published_by_agents() -> set[str]:
    """First arguments of every `.publish(...)` in what workers run, as topics; those that are no constant are dead letters."""
    found = set()
    for path in [*(ROOT / "agents").glob("*.py"), *(ROOT / "ems_streams" / "kafka").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "publish" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Name) and first.id.isupper():
                    found.add(getattr(names, first.id))
    return found


def test_what_agents_publish_is_what_a_worker_may_write() -> None:
    assert published_by_agents() == set(WORKER_OUTPUTS)


@pytest.mark.parametrize("role", list(Role))
def test_rights_are_on_topics_that_exist_and_each_is_there_once(role: Role) -> None:
    catalogue = Catalogue("app", 2)
    rights = rights_of(role, SETTINGS)

    assert {name for name in topics_of(role, SETTINGS) if name not in catalogue} == set()
    assert len({(each.resource, each.name, each.prefixed, each.operation) for each in rights}) == len(rights)
    assert all(each.why for each in rights)


def test_only_admin_changes_topics_and_rights() -> None:
    changing = {"CREATE", "ALTER", "ALTER_CONFIGS"}
    for role in set(Role) - {Role.ADMIN}:
        found = [each for each in rights_of(role, SETTINGS) if each.operation in changing or each.resource is Resource.CLUSTER]
        expected = [("app-replay-", "CREATE", True)] if role is Role.OPERATOR else []
        assert [(each.name, each.operation, each.prefixed) for each in found] == expected


def test_no_process_may_write_what_only_another_one_makes() -> None:
    """The gateway and operators put dead letters back, which is why they may write where those came from."""
    writers = {
        name: {role for role in Role if "WRITE" in topics_of(role, SETTINGS).get(name, ())}
        for name in ("device-telemetry", "ingress-heartbeats")
    }
    assert writers["device-telemetry"] == {Role.INGRESS, Role.GATEWAY, Role.OPERATOR}
    assert writers["ingress-heartbeats"] == {Role.INGRESS}
    assert "WRITE" not in topics_of(Role.ADMIN, SETTINGS).get("device-telemetry", ())


def test_groups_and_transactional_ids_are_those_of_the_application() -> None:
    assert groups_of(Role.WORKER, SETTINGS) == ["app"]
    assert groups_of(Role.SINK, SETTINGS) == [SETTINGS.sink_group]
    assert groups_of(Role.NOTIFIER, SETTINGS) == [notifier_group(SETTINGS)]
    assert groups_of(Role.INGRESS, SETTINGS) == []
    ids = {each.name for each in rights_of(Role.WORKER, SETTINGS) if each.resource is Resource.TRANSACTIONAL_ID}
    assert ids == {f"app-{name}-" for name in ("aggregates", "status", "notifications", "sites", "alarms", "commands")}


def transactional_ids() -> set[str]:
    """What the ids of every writer begin with that is opened with one written out, after the application id."""
    found = set()
    for path in (ROOT / "ems_streams").rglob("*.py"):
        # The writers of a replay are those of agents, under an application id of its own.
        for node in () if "replay" in path.parts else ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in {"PartitionWriter.open", "write_everywhere"}:
                continue
            if isinstance(node.args[1], ast.JoinedStr):
                application, rest, *_ = node.args[1].values
                assert isinstance(application, ast.FormattedValue), path
                assert ast.unparse(application.value) == "settings.application_id", path
                assert isinstance(rest, ast.Constant), path
                found.add(f"app{rest.value}")
    return found


def test_what_is_written_in_transactions_may_be_written_so_by_somebody() -> None:
    allowed = {each.name for role in Role for each in rights_of(role, SETTINGS) if each.resource is Resource.TRANSACTIONAL_ID}

    assert transactional_ids() >= {"app-redrive-", "app-maintenance-", "app-alarm-rules-"}
    assert transactional_ids() <= allowed


def test_what_a_right_implies_is_not_given_twice() -> None:
    for role in Role:
        topics = {
            (each.name, each.operation) for each in rights_of(role, SETTINGS) if each.resource is Resource.TOPIC and not each.prefixed
        }
        assert not {name for name, operation in topics if operation == "DESCRIBE" and (name, "READ") in topics}


def test_principals_are_named_by_a_prefix() -> None:
    assert principal_of(Role.WORKER, SETTINGS) == "User:ems-worker"
    assert {each.principal for each in acls_of(SETTINGS, "plant-7.")} == {f"User:plant-7.{role}" for role in Role}


def acl(principal: str, name: str, **more: object) -> Acl:
    return Acl(principal, "TOPIC", name, prefixed=False, operation="READ", **more)  # type: ignore[arg-type]


def test_a_plan_tells_what_is_missing_and_superfluous_and_leaves_others_alone() -> None:
    wanted = [acl("User:a", "t1"), acl("User:a", "t2"), acl("User:b", "t1")]
    denying = acl("User:a", "t1", allowed=False)
    elsewhere = acl("User:a", "t2", host="10.0.0.7")
    found = [wanted[0], acl("User:a", "t3"), denying, elsewhere, acl("User:stranger", "t1"), acl("User:*", "t1")]

    plan = compare(wanted, found, ["User:a", "User:b"])

    assert plan.missing == (wanted[1], wanted[2])
    assert plan.present == (wanted[0],)
    assert set(plan.superfluous) == {acl("User:a", "t3"), denying, elsewhere}

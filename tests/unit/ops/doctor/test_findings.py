"""What doctor makes of what it has seen: each fault gives its finding, and what is well gives none."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ems_streams.cli.main import app
from ems_streams.errors import SettingError
from ems_streams.kafka.catalogue import Key, Topic
from ems_streams.kafka.topic_plan import TopicState, UnknownTopic, plan
from ems_streams.ops.doctor.group_findings import GroupState, lag_findings, member_findings
from ems_streams.ops.doctor.heartbeat_findings import Beat, heartbeat_findings
from ems_streams.ops.doctor.host_findings import clock_findings, disk_findings, stale_state_findings
from ems_streams.ops.doctor.kinds import KINDS
from ems_streams.ops.doctor.service_findings import Service, health_findings, worker_findings
from ems_streams.ops.doctor.setting_findings import contradicting_names, disagreeing_settings, invalid_settings, unknown_variables
from ems_streams.ops.doctor.topic_findings import plan_findings, replica_findings, right_findings
from ems_streams.settings import Settings

GIB = 1024**3
TOPIC = Topic("telemetry", Key.SERIAL_NUMBER, 4, "for tests", retention_ms=1000)
STATE = TopicState("telemetry", 4, 1, {"cleanup.policy": "delete", "retention.ms": "1000"})
STABLE = GroupState("app", "STABLE", {"w": frozenset({("t", 0), ("t", 1)})}, {("t", 0): 5}, {("t", 0): 0}, {("t", 0): 5})


def codes(findings: Any) -> list[str]:
    return [each.code for each in findings]


def test_every_command_that_is_advised_exists() -> None:
    import typer

    group = typer.main.get_command(app)
    for kind in KINDS.values():
        if kind.command:
            _, *path = kind.command
            found: Any = group
            while path and path[0] in getattr(found, "commands", {}):
                found = found.commands[path.pop(0)]
            options = {option for parameter in found.params for option in parameter.opts}
            assert not hasattr(found, "commands"), kind
            assert {each for each in path if each.startswith("--")} <= options, kind


def test_every_kind_that_the_code_makes_is_known_and_every_known_one_is_made() -> None:
    sources = "".join(
        path.read_text()
        for folder in ("ops/doctor", "processes/doctor")
        for path in (Path(__file__).parents[4] / "ems_streams" / folder).glob("*.py")
        if path.name != "kinds.py"
    )
    made = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', sources)) & set(KINDS)
    made |= {f"kafka-{end}" for end in ("refused", "silent")}  # made of the server's name
    assert made == set(KINDS)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (None, "topics-missing"),
        (replace(STATE, partitions=2), "topic-partitions"),
        (replace(STATE, config={**STATE.config, "retention.ms": "5"}), "topic-settings"),
        (replace(STATE, config={**STATE.config, "retention.ms": "5000"}), "topic-keeps-more"),
        (replace(STATE, config={**STATE.config, "cleanup.policy": "compact"}), "topic-loses-records"),
        (replace(STATE, config={**STATE.config, "cleanup.policy": "compact,delete"}), "topic-loses-records"),
    ],
)
def test_topics(state: TopicState | None, code: str) -> None:
    found = list(plan_findings(plan([TOPIC], {} if state is None else {state.name: state}, 1), [], 4))

    assert codes(found) == [code]
    assert "telemetry" in found[0].found


def test_a_table_that_forgets_loses_records_too() -> None:
    table = replace(TOPIC, retention_ms=None, compacted=True)

    for policy in ("delete", "compact,delete"):
        forgetful = replace(STATE, config={"cleanup.policy": policy, "retention.ms": "1000"})
        (found,) = plan_findings(plan([table], {"telemetry": forgetful}, 1), [], 4)

        assert (found.code, found.severity) == ("topic-loses-records", "CRITICAL")
        assert f"cleanup.policy={policy} instead of compact" in found.found


def test_topics_as_they_should_be_give_nothing_and_replicas_and_strangers_are_named() -> None:
    assert codes(plan_findings(plan([TOPIC], {"telemetry": STATE}, 1), [], 4)) == []
    assert codes(plan_findings(plan([TOPIC], {"telemetry": STATE}, 3), [], 4)) == ["topic-replication"]
    assert codes(plan_findings([], [UnknownTopic("app-x", "why")], 4)) == ["topic-unknown"]


def test_a_partition_count_that_not_all_topics_have_is_none_to_set() -> None:
    other, single = replace(TOPIC, name="other"), Topic("single", Key.NONE, 1, "for tests", retention_ms=1000)
    states = {
        "telemetry": STATE,
        "other": replace(STATE, name="other", partitions=2),
        "single": replace(STATE, name="single", partitions=1),
    }

    (found,) = plan_findings(plan([TOPIC, other, single], states, 1), [], 4)
    (of_single,) = plan_findings(plan([TOPIC, single], {**states, "single": replace(STATE, name="single", partitions=3)}, 1), [], 4)

    assert (found.code, found.found) == ("topic-partitions-mixed", "1 topics with 2 partitions: other")
    assert "EMS_PARTITIONS" not in found.advice
    assert (of_single.code, of_single.found) == ("topic-partitions-mixed", "1 topics with 3 partitions: single")


def test_the_partition_count_that_the_cluster_has_is_what_is_advised() -> None:
    (found,) = plan_findings(plan([TOPIC], {"telemetry": replace(STATE, partitions=2)}, 1), [], 4)

    assert "EMS_PARTITIONS=2" in found.advice
    assert found.expected == "EMS_PARTITIONS=4"


def test_replicas() -> None:
    assert codes(replica_findings({"t": [(0, 1, 3, 3)]}, {"t": 2})) == []
    assert codes(replica_findings({"t": [(0, -1, 1, 1)]}, {})) == ["topic-offline"]
    assert codes(replica_findings({"t": [(0, 1, 3, 2)]}, {})) == ["topic-replicas-behind"]
    assert codes(replica_findings({"t": [(0, 1, 1, 1)]}, {"t": 2})) == ["topic-min-in-sync"]
    assert codes(replica_findings({"t": [(0, 1, 3, 2)]}, {"t": 2})) == ["topic-replicas-behind"]
    assert codes(replica_findings({"t": [(0, 1, 3, 1)]}, {"t": 2})) == ["topic-replicas-behind", "topic-not-writable"]
    assert codes(replica_findings({"t": [(0, -1, 3, 0)]}, {"t": 2})) == ["topic-offline", "topic-replicas-behind"]


def test_rights() -> None:
    assert codes(right_findings({"t": ["READ", "WRITE"], "u": None}, ["READ", "WRITE"])) == []
    assert [each.found for each in right_findings({"t": ["READ"], "u": ["READ", "WRITE"]}, ["READ", "WRITE"])] == ["not on 1 topics: t"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (STABLE, []),
        (replace(STABLE, members={}), ["workers-none"]),
        (replace(STABLE, state="PREPARING_REBALANCING"), ["group-moving"]),
        (replace(STABLE, members={"w": frozenset({("t", 0)})}), ["partitions-unassigned"]),
        (replace(STABLE, members={"w": frozenset()}), ["partitions-unassigned"]),
    ],
)
def test_members(state: GroupState, expected: list[str]) -> None:
    assert codes(member_findings(state, "workers-none", {"t": 2})) == expected


def test_lag_is_told_by_its_age_and_what_went_unread_by_its_number() -> None:
    behind = replace(STABLE, ends={("t", 0): 15}, waiting_since_s={("t", 0): 1000.0})

    assert codes(lag_findings(STABLE, 1000.0)) == []
    assert codes(lag_findings(behind, 1059.0)) == []
    (found,) = lag_findings(behind, 1075.0)
    assert (found.code, found.found) == ("group-behind", "75 s, 10 records of t")
    (lost,) = lag_findings(replace(STABLE, begins={("t", 0): 7}, ends={("t", 0): 7}), 1000.0)
    assert (lost.code, lost.found) == ("group-lost", "about 2 records of t[0]")


@pytest.mark.parametrize(("ahead_s", "found"), [(0.0, []), (4.9, []), (-4.9, []), (5.2, ["5.2 s ahead of"]), (-120.0, ["120.0 s behind"])])
def test_clocks(ahead_s: float, found: list[str]) -> None:
    assert [each.found.removesuffix(" this machine's clock") for each in clock_findings("Kafka", ahead_s, 0.1)] == found


@pytest.mark.parametrize(
    ("total", "free", "expected"),
    [
        (500 * GIB, 50 * GIB, []),
        (500 * GIB, 20 * GIB, []),
        (500 * GIB, 9 * GIB, ["disk-low"]),
        (500 * GIB, 1 * GIB, ["disk-full"]),
        (20 * GIB, 3 * GIB, []),
        (20 * GIB, 1 * GIB, ["disk-low"]),
        (20 * GIB, GIB // 8, ["disk-full"]),
        (500 * GIB, 0, ["disk-full"]),
    ],
)
def test_disks(total: int, free: int, expected: list[str]) -> None:
    assert codes(disk_findings("/data", total, free)) == expected


def test_state_of_workers_that_do_not_run() -> None:
    directories = [("worker-0", "/d/worker-0", 10), ("worker-1", "/d/worker-1", 2048)]

    (found,) = stale_state_findings(directories, ["worker-0"])

    assert (found.code, found.found) == ("state-stale", "/d/worker-1 with 2.0 KiB")


def test_heartbeats() -> None:
    def told(*beats: Beat) -> list[str]:
        return [f"{each.code} {each.found}" for each in heartbeat_findings(beats, 7.5, 7.5, 1000.0)]

    assert told(Beat("a", 999.0, 999.1, 999.3)) == []
    assert told() == ["ingress-silent none at all"]
    assert told(Beat("a", 900.0, 900.0)) == ["ingress-silent the last one is of a, 100 s ago"]
    assert told(Beat("a", 1060.0, 1060.0, 1000.0)) == ["clock-differs 60.0 s ahead of this machine's clock"]
    assert told(Beat("a", 990.0, 1000.0, 1000.0)) == ["clock-differs 10.0 s behind the clock of the Kafka broker"]


def test_of_heartbeats_that_come_too_seldom_to_wait_for_the_age_of_the_last_one_counts() -> None:
    assert codes(heartbeat_findings([Beat("a", 960.0, 960.0)], 61.5, 15.0, 1000.0)) == []
    assert codes(heartbeat_findings([Beat("a", 930.0, 930.0)], 61.5, 15.0, 1000.0)) == ["ingress-silent"]
    assert codes(heartbeat_findings([], 61.5, 15.0, 1000.0)) == ["ingress-silent"]
    assert codes(heartbeat_findings([Beat("a", 999.0, 999.0)], 7.5, 7.5, 1000.0)) == ["ingress-silent"], "none came in all that time"


def test_processes() -> None:
    well = Service("worker", "http://w", True, version="1", live={"status": "ok"}, ready={"status": "ok"})
    waiting = {"status": "failing", "checks": {"kafka": {"ok": False, "detail": "away", "forS": 12.3}, "other": {"ok": True}}}

    assert codes(health_findings(well, "1")) == []
    assert codes(health_findings(replace(well, version=None), "1")) == []
    assert codes(health_findings(replace(well, version="0"), "1")) == ["version-differs"]
    assert codes(health_findings(replace(well, ahead_s=60.0), "1")) == ["clock-differs"]
    assert codes(health_findings(replace(well, live=waiting, ready=waiting), "1")) == ["process-not-live"]
    (found,) = health_findings(replace(well, ready=waiting), "1")
    assert (found.code, found.found) == ("process-not-ready", "kafka for 12 s: away")


def test_workers_that_do_not_answer() -> None:
    away, told = Service("worker", "http://a", False, "refused"), Service("worker", "http://b", False, "refused")

    assert codes(worker_findings([away, told], ["http://a"], 2)) == ["worker-url-stale", "worker-unreachable"]
    assert codes(worker_findings([away], ["http://a"], 0)) == [], "that no worker runs is said already"
    assert codes(worker_findings([replace(away, answered=True)], ["http://a"], 1)) == []


def test_settings() -> None:
    (found,) = invalid_settings([SettingError("EMS_PARTITIONS", "many", "must be a number")])
    assert (found.code, found.found, found.expected) == ("setting-invalid", "'many'", "must be a number")
    assert codes(unknown_variables(["EMS_PARTITONS", "EMS_SECRET_OF_MINE", "EMS_PARTITIONS", "EMS_MQTT_PASSWORD_FILE", "PATH"])) == [
        "setting-misspelt",
        "setting-unknown",
    ]
    assert codes(unknown_variables(["EMS_HOOK"], ["EMS_HOOK"])) == []
    assert codes(contradicting_names({"EMS_MQTT_URL": "mqtt://a", "MQTT_URL": "mqtt://b"})) == ["settings-disagree"]
    assert codes(contradicting_names({"EMS_MQTT_URL": "mqtt://a", "MQTT_URL": "mqtt://a"})) == []
    (found,) = contradicting_names({"EMS_MQTT_URL": "mqtt://of-env-file", "MQTT_URL": "mqtt://of-environment"}, {"MQTT_URL"})
    assert found.found == "both are set, and MQTT_URL counts"
    assert codes(disagreeing_settings(Settings.load())) == []
    assert codes(disagreeing_settings(Settings.load(kafka_heartbeat_interval_s=3, silence_timeout_s=5))) == ["settings-disagree"] * 2


def test_all_wrong_settings_are_told_at_once_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMS_PARTITIONS", "many")
    monkeypatch.setenv("EMS_KAFKA_BOOTSTRAP_SERVERS", "nowhere")
    monkeypatch.setenv("EMS_WINDOW_LATENESS_S", "1,2")

    problems = Settings.problems()

    assert [(each.setting, each.value) for each in problems] == [
        ("EMS_KAFKA_BOOTSTRAP_SERVERS", "nowhere"),
        ("EMS_PARTITIONS", "many"),
        ("EMS_WINDOW_LATENESS_S", "1,2"),
    ]

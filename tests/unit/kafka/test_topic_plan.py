"""What `topics apply` would do, for every way in which a cluster can differ."""

from dataclasses import replace

import pytest

from ems_streams.kafka.catalogue import Catalogue, Key, Topic
from ems_streams.kafka.topic_plan import Action, TopicPlan, TopicState, common_partitions, plan, unknown_topics

TOPIC = Topic("telemetry", Key.SERIAL_NUMBER, 4, "for tests", retention_ms=1000)
AS_WANTED = TopicState("telemetry", 4, 1, {"cleanup.policy": "delete", "retention.ms": "1000", "segment.bytes": "7"})


def plan_one(topic: Topic, state: TopicState | None, replication_factor: int = 1) -> TopicPlan:
    (result,) = plan([topic], {} if state is None else {state.name: state}, replication_factor)
    return result


def test_a_missing_topic_is_created() -> None:
    assert plan_one(TOPIC, None) == TopicPlan(TOPIC, Action.CREATE)


def test_a_topic_as_wanted_is_left_alone_whatever_else_is_set_on_it() -> None:
    assert plan_one(TOPIC, AS_WANTED) == TopicPlan(TOPIC, Action.NONE)


@pytest.mark.parametrize("setting", ["retention.ms", "cleanup.policy"])
@pytest.mark.parametrize("current", ["5", None])
def test_a_setting_that_differs_is_altered(setting: str, current: str | None) -> None:
    config = {name: value for name, value in AS_WANTED.config.items() if name != setting} | ({setting: current} if current else {})

    result = plan_one(TOPIC, replace(AS_WANTED, config=config))

    assert result.action is Action.ALTER
    assert [(each.setting, each.current, each.wanted) for each in result.changes] == [(setting, current, TOPIC.config[setting])]
    assert result.refusals == ()


def test_largest_message_of_dead_letters_is_compared() -> None:
    topic = replace(TOPIC, extra_config={"max.message.bytes": "9"})

    result = plan_one(topic, replace(AS_WANTED, config={**AS_WANTED.config, "max.message.bytes": "1048588"}))

    assert [each.setting for each in result.changes] == ["max.message.bytes"]


@pytest.mark.parametrize("partitions", [3, 5])
def test_the_partition_count_of_a_keyed_topic_is_never_changed(partitions: int) -> None:
    result = plan_one(TOPIC, replace(AS_WANTED, partitions=partitions))

    assert result.action is Action.REFUSE
    assert result.changes == ()
    (refused,) = result.refusals
    assert f"EMS_PARTITIONS={partitions}" in (refused.refusal or "")
    assert "serial number" in (refused.refusal or "")


def test_a_refusal_does_not_keep_the_rest_from_being_altered() -> None:
    result = plan_one(TOPIC, replace(AS_WANTED, partitions=3, config={"cleanup.policy": "delete", "retention.ms": "1"}))

    assert result.action is Action.ALTER
    assert [each.setting for each in result.changes] == ["retention.ms"]
    assert [each.setting for each in result.refusals] == ["partitions"]


@pytest.mark.parametrize("partitions", [6, 24])
def test_with_a_wrong_setting_no_topic_gets_other_partitions_and_each_names_the_right_one(partitions: int) -> None:
    states = {topic.name: TopicState(topic.name, topic.partitions, 1, topic.config) for topic in Catalogue("app", 12)}

    plans = plan(Catalogue("app", partitions), states, 1)

    assert {each.name: each.changes for each in plans if each.changes} == {}
    assert {each.name for each in plans if each.refusals} == {name for name, state in states.items() if state.partitions == 12}
    assert all("EMS_PARTITIONS=12" in (item.refusal or "") for each in plans for item in each.refusals)


def test_the_partition_count_of_a_cluster_is_that_of_all_its_topics_but_those_of_one() -> None:
    states = {topic.name: TopicState(topic.name, topic.partitions, 1, topic.config) for topic in Catalogue("app", 12)}
    one_differs = states | {"ingress-heartbeats": TopicState("ingress-heartbeats", 1, 1, {})}
    some_missing = {name: state for name, state in states.items() if name != "device-status"}

    assert common_partitions(plan(Catalogue("app", 24), states, 1)) == 12
    assert common_partitions(plan(Catalogue("app", 24), some_missing, 1)) == 12
    assert common_partitions(plan(Catalogue("app", 12), one_differs, 1)) is None
    assert common_partitions(plan(Catalogue("app", 12), {}, 1)) is None


def test_a_topic_of_one_partition_that_has_more_is_none_of_the_setting() -> None:
    (refused,) = plan_one(replace(TOPIC, key=Key.NONE, partitions=1), AS_WANTED).refusals

    assert (refused.current, refused.wanted) == ("4", "1")
    assert "EMS_PARTITIONS" not in (refused.refusal or "")


def test_fewer_replicas_are_reported_and_more_are_welcome() -> None:
    assert plan_one(TOPIC, AS_WANTED, replication_factor=3).refusals[0].setting == "replication"
    assert plan_one(TOPIC, replace(AS_WANTED, replication=3), replication_factor=2).action is Action.NONE


def test_the_order_of_cleanup_policies_means_nothing() -> None:
    topic = replace(TOPIC, extra_config={"cleanup.policy": "compact,delete"})

    assert plan_one(topic, replace(AS_WANTED, config={**AS_WANTED.config, "cleanup.policy": "delete, compact"})).action is Action.NONE


def test_topics_outside_the_catalogue_are_not_looked_at() -> None:
    assert [each.name for each in plan([TOPIC], {"someone-elses": replace(AS_WANTED, name="someone-elses")}, 1)] == ["telemetry"]


@pytest.mark.parametrize(
    ("setting", "current", "wanted", "named"),
    [
        ("retention.ms", "2000", "1000", "older than"),
        ("retention.ms", "-1", "86400000", "older than 1 days"),
        ("cleanup.policy", "compact", "delete", "last record of each key"),
    ],
)
def test_what_would_delete_records_is_refused_unless_that_is_wanted(setting: str, current: str, wanted: str, named: str) -> None:
    topic = replace(TOPIC, extra_config={setting: wanted})
    state = replace(AS_WANTED, config={**AS_WANTED.config, setting: current})

    refused = plan_one(topic, state)
    (allowed,) = plan([topic], {topic.name: state}, 1, allow_record_loss=True)

    assert refused.action is Action.REFUSE
    assert named in (refused.refusals[0].refusal or "")
    assert "--allow-record-loss" in (refused.refusals[0].refusal or "")
    assert [(each.setting, each.wanted, each.refusal) for each in allowed.differences] == [(setting, wanted, None)]


@pytest.mark.parametrize(
    ("setting", "current", "wanted"),
    [
        ("retention.ms", "999", "1000"),
        ("retention.ms", "1000", "-1"),
        ("cleanup.policy", "delete", "compact"),
        ("retention.ms", "odd", "1000"),
    ],
)
def test_what_keeps_more_is_done(setting: str, current: str, wanted: str) -> None:
    topic = replace(TOPIC, extra_config={setting: wanted})

    assert plan_one(topic, replace(AS_WANTED, config={**AS_WANTED.config, setting: current})).action is Action.ALTER


def test_records_stay_compressed_as_their_producers_say() -> None:
    as_produced = replace(AS_WANTED, config={**AS_WANTED.config, "compression.type": "producer"})
    packed_again = replace(AS_WANTED, config={**AS_WANTED.config, "compression.type": "uncompressed"})

    assert plan_one(TOPIC, as_produced).action is Action.NONE
    assert [(each.setting, each.current, each.wanted) for each in plan_one(TOPIC, packed_again).changes] == [
        ("compression.type", "uncompressed", "producer")
    ]


def test_topics_that_begin_like_ours_and_are_unknown_are_named() -> None:
    catalogue = Catalogue("app", 4)
    names = [
        *(topic.name for topic in catalogue),
        "app-replay-x-backfill",
        "app-old-changelog",
        "device-telemetry-copy",
        "orders",
        "application",
    ]

    found = {each.name: each.why for each in unknown_topics(names, catalogue)}

    assert sorted(found) == ["app-old-changelog", "app-replay-x-backfill", "device-telemetry-copy"]
    assert "replay list" in found["app-replay-x-backfill"]

"""Alarm rules on a real Kafka, on a topic of this test's own."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.errors import DependencyError, EmsError
from ems_streams.kafka import alarm_rules
from ems_streams.kafka.alarm_rules import stored_rules
from ems_streams.kafka.catalogue import Key, Topic
from ems_streams.kafka.range_reader import positioned_consumer, read_ranges, whole
from ems_streams.kafka.topic_lifecycle import create_topics, delete_topics
from ems_streams.rules.applying import NoSuchRuleError, apply_builtin_once, apply_rules, remove_rules
from ems_streams.rules.builtin import builtin_rules
from ems_streams.settings import Settings

pytestmark = pytest.mark.integration

PARTITIONS = 3


def a_rule(rule_id: str, **fields: Any) -> AlarmRule:
    condition = {"kind": "threshold", "metric": "temperature", "above": 70, "clearAt": 65}
    return AlarmRule.model_validate({"id": rule_id, "title": "Hot", "severity": "WARNING", "condition": condition} | fields)


@pytest.fixture
async def settings(kafka_servers: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    settings = Settings.load(kafka_bootstrap_servers=kafka_servers, application_id="rules")
    topic = Topic(f"alarm-rules-{uuid4().hex[:8]}", Key.NONE, PARTITIONS, "alarm rules of a test", compacted=True)
    await create_topics(settings, [topic])
    monkeypatch.setattr(alarm_rules, "ALARM_RULES", topic.name)
    yield settings
    await delete_topics(settings, [topic.name])


async def by_partition(settings: Settings) -> list[list[tuple[bytes | None, bytes | None]]]:
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {number: [] for number in range(PARTITIONS)}
    async with positioned_consumer(settings) as consumer:
        async for tp, records in read_ranges(consumer, await whole(consumer, alarm_rules.ALARM_RULES)):
            found[tp.partition] += [(record.key, record.value) for record in records]
    return list(found.values())


async def test_rules_are_in_every_partition_with_who_wrote_them_and_only_what_changes_is_written(settings: Settings) -> None:
    first = [a_rule("a"), a_rule("b")]
    added = await apply_rules(settings, first, prune=False, by="ann")
    assert [rule.id for rule in added.added] == ["a", "b"]
    assert await by_partition(settings) == [[(rule.key, rule.encode()) for rule in first]] * PARTITIONS

    changed = a_rule("b", severity="CRITICAL")
    assert (await apply_rules(settings, [changed], prune=True, by="bob", dry_run=True)).removed == ("a",)
    assert list((await stored_rules(settings)).by_id) == ["a", "b"]
    await apply_rules(settings, [changed], prune=True, by="bob")

    stored = await stored_rules(settings)
    assert [(each.rule, each.applied_by) for each in stored.by_id.values()] == [(changed, "bob")]
    assert (
        await by_partition(settings)
        == [[*((rule.key, rule.encode()) for rule in first), (b"b", changed.encode()), (b"a", None)]] * PARTITIONS
    )
    assert (await apply_rules(settings, [changed], prune=True, by="bob")).nothing
    assert (
        await by_partition(settings)
        == [[*((rule.key, rule.encode()) for rule in first), (b"b", changed.encode()), (b"a", None)]] * PARTITIONS
    )


async def test_rules_are_removed_all_of_those_named_or_none(settings: Settings) -> None:
    await apply_rules(settings, [a_rule("a"), a_rule("b"), a_rule("c")], prune=False, by="ann")

    with pytest.raises(NoSuchRuleError, match="there is no alarm rule 'x'"):
        await remove_rules(settings, ["a", "x"], by="ann")
    assert list((await stored_rules(settings)).by_id) == ["a", "b", "c"]
    assert await remove_rules(settings, ["a", "a"], by="ann") == ["a"]
    assert await remove_rules(settings, None, by="ann") == ["b", "c"]
    assert await remove_rules(settings, None, by="ann") == []
    assert (await stored_rules(settings)).by_id == {}


async def test_built_in_rules_are_applied_to_a_topic_that_was_never_written_to_and_never_again(settings: Settings) -> None:
    assert await apply_builtin_once(settings, by="dev") == len(builtin_rules())
    assert [each.rule for each in (await stored_rules(settings)).by_id.values()] == sorted(builtin_rules(), key=lambda rule: rule.id)

    await remove_rules(settings, None, by="ann")

    assert await apply_builtin_once(settings, by="dev") == 0
    assert (await stored_rules(settings)).by_id == {}


async def test_what_is_no_rule_is_named_and_can_be_replaced_and_removed(settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for key, value in ((b"bad", b"{"), (b"\xff", b"x"), (b"", b"y"), (b"other", a_rule("a").encode())):
        producer.produce(alarm_rules.ALARM_RULES, value, key, partition=0)
    producer.flush(10)

    stored = await stored_rules(settings)
    assert (stored.by_id, list(stored.unreadable)) == ({}, ["", "bad", "other", "\udcff"])
    assert "key_mismatch" in stored.unreadable["other"]

    await apply_rules(settings, [a_rule("other")], prune=False, by="ann")
    assert list((await stored_rules(settings)).unreadable) == ["", "bad", "\udcff"]
    await apply_rules(settings, [a_rule("other")], prune=True, by="ann")
    assert (await stored_rules(settings)).current.keys() == {"other"}


async def test_a_topic_that_is_missing_and_a_kafka_that_is_away_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_rules, "ALARM_RULES", "alarm-rules-nowhere")
    with pytest.raises(EmsError, match="topic alarm-rules-nowhere does not exist"):
        await apply_rules(settings, [a_rule("a")], prune=False, by="ann")
    with pytest.raises(DependencyError, match=r"Kafka does not answer at 127\.0\.0\.1:1"):
        await stored_rules(settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))

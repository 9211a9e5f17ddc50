"""The story of a device from given facts and records: what it says, and what it must not claim."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from ems_streams.domain.device_facts import (
    DeviceFacts,
    FlappingFacts,
    MaintenanceFacts,
    MessageFacts,
    Place,
    RuleFacts,
    SilenceFacts,
    StatusFacts,
)
from ems_streams.domain.device_history import Found, HistoryRecord, Read, ReadEnd
from ems_streams.domain.events import DeviceStatus, Severity
from ems_streams.domain.explaining import Gathered, Topics, explain, for_sites
from ems_streams.domain.explanation import Explanation, Missing
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.timestamps import format_epoch_ms, to_epoch_ms
from ems_streams.kafka.device_topics import PUT_ASIDE, READERS

NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
NOON_MS = to_epoch_ms(NOON)
SERIAL = "INV-001"
TOPICS = Topics(READERS, PUT_ASIDE, "device-telemetry-late", "device-telemetry")
NO_WORKER = Missing(part="worker", fact="its live status", why="No worker answers")


def status_facts(status: str = "OFFLINE", cause: str = "REPORTED_OFFLINE", **changes: Any) -> StatusFacts:
    given: dict[str, Any] = {
        "status": DeviceStatus(status), "previous_status": DeviceStatus.ONLINE, "since": NOON, "reason": "", "cause": cause, "sequence": 2,
        "evidence": Place(topic="device-status-reports", partition=3, offset=1234), "last_seen": NOON, "heard_at": NOON,
        "heard": Place(topic="device-status-reports", partition=3, offset=1234),
    }  # fmt: skip
    return StatusFacts(**given | changes)


def facts(status: StatusFacts | None = None, **changes: Any) -> DeviceFacts:
    given: dict[str, Any] = {
        "serial_number": SERIAL, "worker": "http://127.0.0.1:6066", "as_of": NOON, "partition": 3, "folded": {}, "status": status, "rules": (),
    }  # fmt: skip
    return DeviceFacts(**given | changes)


def record(topic: str, offset: int, value: Any, at_ms: int = NOON_MS, headers: tuple[tuple[str, bytes], ...] = ()) -> HistoryRecord:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return HistoryRecord(topic, 3, offset, at_ms, SERIAL.encode(), raw, len(raw), headers)


def telemetry(offset: int, at_ms: int = NOON_MS, topic: str = "device-telemetry", power_kw: float = 1.0, **more: Any) -> HistoryRecord:
    headers = more.pop("headers", ())
    value = {
        "deviceId": 7, "serialNumber": SERIAL, "siteId": 1, "deviceType": "METER", "telemetryData": {"powerKw": power_kw},
        "timestamp": format_epoch_ms(at_ms), "eventType": "DEVICE_TELEMETRY", **more,
    }  # fmt: skip
    return record(topic, offset, value, NOON_MS, headers)


def will(offset: int, written_ms: int, reason: str | None = None) -> HistoryRecord:
    value = {
        "deviceId": 7, "serialNumber": SERIAL, "siteId": 1, "deviceType": "METER", "status": "OFFLINE", "timestamp": format_epoch_ms(written_ms),
        "eventType": "DEVICE_STATUS_REPORT",
    } | ({"reason": reason} if reason else {})  # fmt: skip
    return record("device-status-reports", offset, value)


def explained(
    known: DeviceFacts | None, *records: HistoryRecord, missing: tuple[Missing, ...] = (), registered: RegistryEntry | None = None,
    unknown: str = "provision", found: Found | None = None,
) -> Explanation:  # fmt: skip
    reads = (Read("device-telemetry", 3, 0, 100, NOON_MS, ReadEnd.SINCE),)
    return explain(
        Gathered(
            serial_number=SERIAL, as_of=NOON, since=NOON - timedelta(hours=1), registered=registered, unknown_devices=unknown, facts=known,
            found=found or Found(records, reads, {}), partition=3, owner=None, missing=missing,
        ),
        TOPICS,
    )  # fmt: skip


def said(found: Explanation) -> str:
    return "\n".join(found.narrative)


def test_a_report_that_is_older_than_its_arrival_is_told_as_a_last_will_with_its_offset() -> None:
    found = explained(facts(status_facts()), will(1234, NOON_MS - 63_000))
    assert found.narrative[0] == (
        "INV-001 is OFFLINE since 2026-06-01T12:00:00Z because what seems to be its last will arrived at 2026-06-01T12:00:00Z, "
        "63 s after it was written (device-status-reports[3]@1234)."
    )


def test_a_last_will_that_says_so_is_told_as_one() -> None:
    found = explained(facts(status_facts(reason="Last will: connection lost")), will(1234, NOON_MS, "Last will: connection lost"))
    assert "because its last will arrived (device-status-reports[3]@1234): Last will: connection lost" in found.narrative[0]


def test_nothing_is_claimed_of_a_report_that_could_be_either() -> None:
    assert "by itself or by a last will without words of its own" in explained(facts(status_facts()), will(1234, NOON_MS)).narrative[0]
    assert "by itself or by its last will" in explained(facts(status_facts())).narrative[0]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (status_facts("ONLINE", "TELEMETRY", previous_status=DeviceStatus.UNKNOWN), "because its first telemetry arrived (device-status-reports[3]@1234)"),
        (status_facts("ONLINE", "TELEMETRY", previous_status=DeviceStatus.OFFLINE), "because telemetry arrived (device-status-reports[3]@1234) while it was OFFLINE"),
        (status_facts("ERROR", "REPORTED_ERROR", reason="Fan (code 7)"), "because it reported ERROR (device-status-reports[3]@1234): Fan (code 7)"),
        (status_facts("OFFLINE", "SILENCE"), "nothing was heard of it for 300 s while ingress listened; the last was device-status-reports[3]@1234"),
    ],
)  # fmt: skip
def test_each_cause_is_told_with_the_record_that_it_rests_on(status: StatusFacts, expected: str) -> None:
    silence = SilenceFacts(timeout_s=300, decided_by="default")
    assert expected in explained(facts(status, silence=silence)).narrative[0]


def test_a_device_of_which_nothing_is_known_is_unknown_and_what_is_done_with_it_is_told() -> None:
    found = explained(facts(), unknown="reject")
    assert (found.status, found.known) == ("UNKNOWN", False)
    assert "telemetry that is newer than what it knows: ONLINE" in found.next_changes
    assert "its messages go to the dead letters as unknown_device (EMS_UNKNOWN_DEVICES=reject)" in said(found)
    assert "gives it an entry" in said(explained(facts(), unknown="provision"))


def test_without_a_worker_the_last_transition_is_told_and_what_is_missing() -> None:
    event = {
        "eventId": "e", "sequence": 3, "deviceId": 7, "serialNumber": SERIAL, "siteId": 1, "previousStatus": "ONLINE", "newStatus": "ERROR",
        "timestamp": format_epoch_ms(NOON_MS), "reason": "Fan", "eventType": "DEVICE_STATUS_CHANGE",
        "evidence": {"topic": "device-status-reports", "partition": 3, "offset": 5, "lastSeen": format_epoch_ms(NOON_MS)},
    }  # fmt: skip
    found = explained(None, record("device-status", 9, event), missing=(NO_WORKER,))
    assert found.status is None
    assert "device-status[3]@9): ONLINE -> ERROR: Fan by device-status-reports[3]@5" in found.narrative[0]
    assert found.narrative[-1] == "Not known: its live status: No worker answers."
    assert found.known


def test_without_kafka_the_state_is_told_all_the_same() -> None:
    away = Missing(part="kafka", fact="its records", why="Kafka does not answer")
    found = explain(
        Gathered(SERIAL, NOON, NOON, None, "provision", facts(status_facts()), None, 3, None, (away,)),
        TOPICS,
    )
    assert found.narrative[0].startswith("INV-001 is OFFLINE since")
    assert "Not known: its records: Kafka does not answer." in found.narrative
    assert (found.timeline, found.reads) == ((), ())


def test_a_message_id_that_comes_again_is_a_duplicate_of_the_first_one() -> None:
    found = explained(
        facts(status_facts(), messages=MessageFacts(duplicates=4, late=0, future=0, left_out_values=0, remembered_ids=9)),
        telemetry(10, messageId="m1"), telemetry(11, messageId="m2"), telemetry(12, messageId="m1", power_kw=2.0),
    )  # fmt: skip
    [again] = [each for each in found.timeline if each.dropped]
    assert (str(again.place), again.dropped, again.message_id, again.origin) == (
        "device-telemetry[3]@12",
        "duplicate",
        "m1",
        "device-telemetry[3]@10",
    )
    assert found.dropped.duplicate_message_ids == ("m1",)
    assert "Duplicates: 4 counted by the worker since the device is known, 1 among the records looked at (device-telemetry[3]@12)" in said(
        found
    )


def test_an_id_that_is_no_longer_remembered_is_not_called_a_duplicate() -> None:
    many = [telemetry(10 + number, messageId=f"m{number}") for number in range(65)]
    assert explained(None, *many, telemetry(99, messageId="m0")).dropped.duplicates_seen == ()
    remembered = explained(None, *many, telemetry(99, messageId="m1")).dropped.duplicates_seen
    assert [str(place) for place in remembered] == ["device-telemetry[3]@99"]


def test_the_same_bytes_without_an_id_are_a_duplicate_and_other_values_of_the_same_time_are_not() -> None:
    found = explained(None, telemetry(1), telemetry(2, power_kw=5.0), telemetry(3))
    assert [str(place) for place in found.dropped.duplicates_seen] == ["device-telemetry[3]@3"]


def test_what_was_late_or_malformed_is_told_with_where_it_came_from() -> None:
    late = (("late-original-topic", b"device-telemetry"), ("late-original-partition", b"3"), ("late-original-offset", b"77"),
            ("late-watermark", b"2026-06-03T00:00:00Z"))  # fmt: skip
    letter = (("dlt-original-topic", b"sites/1/devices/INV-001/telemetry"), ("dlt-original-partition", b"-1"), ("dlt-original-offset", b"-1"),
              ("dlt-error-class", b"invalid_json"), ("dlt-error-message", b"unexpected character"), ("dlt-stage", b"ingress"))  # fmt: skip
    found = explained(
        None, telemetry(5, topic="device-telemetry-late", headers=late), record("device-telemetry-dlt", 8, b"powerKw=1", headers=letter)
    )
    assert [(each.dropped, each.origin) for each in found.timeline] == [
        ("late", "device-telemetry[3]@77"),
        ("malformed", "MQTT sites/1/devices/INV-001/telemetry"),
    ]
    assert "2026-06-03T00:00:00Z" in (found.timeline[0].because or "")
    assert "ems-streams dlt show device-telemetry-dlt/3/8" in (found.timeline[1].because or "")
    assert "Dead letters: 1 among the records looked at (device-telemetry-dlt[3]@8)." in found.narrative


def test_a_record_that_cannot_be_read_is_told_and_stops_nothing() -> None:
    found = explained(None, record("device-status-reports", 1, b"\xff\x00"), record("device-notifications", 2, {"kind": "?"}), telemetry(3))
    assert [each.what for each in found.timeline] == ["malformed", "malformed", "telemetry"]


def test_what_the_worker_has_not_taken_in_yet_is_told() -> None:
    known = facts(status_facts(), folded={"status/device-telemetry": 10, "aggregates/device-telemetry": 11})
    found = explained(known, telemetry(10), telemetry(11, power_kw=2.0), telemetry(12, power_kw=3.0))
    assert [each.folded for each in found.timeline] == [True, False, False]
    assert "2 of its records are not taken in yet (device-telemetry[3]@11, device-telemetry[3]@12): the worker is behind" in said(found)
    assert explained(None, telemetry(10)).timeline[0].folded is None


def test_what_a_pending_rule_waits_for_is_told_and_when_things_change_next() -> None:
    rule = RuleFacts(
        rule_id="hot", title="Hot", severity=Severity.WARNING, kind="threshold", metric="temperature", condition="temperature above 80 for 600 s",
        standing="PENDING", value=90, limit=80, since=NOON, evidence=Place(topic="device-telemetry", partition=3, offset=5),
        due_at=NOON + timedelta(minutes=10), why="beyond the limit for 30 s of 600 s so far",
    )  # fmt: skip
    silence = SilenceFacts(timeout_s=300, decided_by="type", listening_since=NOON, listened_until=NOON, due_at=NOON + timedelta(minutes=5))
    window = MaintenanceFacts(
        window_id="mw-1", starts_at=NOON, ends_at=NOON + timedelta(hours=1), reason="swap", created_by="Ann", active=True
    )
    flapping = FlappingFacts(score=2.5, threshold=6, reuse=1.5, half_life_s=300, told_status=DeviceStatus.ONLINE, held_back_by="mw-1")
    known = facts(status_facts("ONLINE", "TELEMETRY"), rules=(rule,), silence=silence, maintenance=(window,), flapping=flapping)
    found = explained(known)
    text = said(found)
    assert (
        "Alarm rule hot is PENDING (WARNING, temperature above 80 for 600 s): beyond the limit for 30 s of 600 s so far (device-telemetry[3]@5)."
        in text
    )
    assert "silent, and so OFFLINE, at 2026-06-01T12:05:00Z if nothing comes until then (timeout of 300 s, of its type)" in text
    assert "Under maintenance until 2026-06-01T13:00:00Z (mw-1, by Ann): swap; people are not told of it." in text
    assert "Flapping score 2.5 of 6." in text
    assert [each.split(": ")[0] for each in found.next_changes[:3]] == [
        "2026-06-01T12:05:00Z",
        "2026-06-01T12:10:00Z",
        "2026-06-01T13:00:00Z",
    ]
    assert "a report of ERROR that is newer than the last one: ERROR" in found.next_changes
    assert not any(each.startswith("telemetry") for each in found.next_changes), "telemetry does not change ONLINE"


def test_silence_is_not_threatened_while_nobody_listens() -> None:
    silence = SilenceFacts(timeout_s=300, decided_by="default", listened_until=NOON - timedelta(minutes=30), due_at=NOON)
    assert "no ingress has listened since 2026-06-01T11:30:00Z, so no silence is counted now" in said(
        explained(facts(status_facts("ONLINE", "TELEMETRY"), silence=silence))
    )


def test_how_far_back_was_looked_is_told_when_there_may_be_more() -> None:
    found = explained(
        None, found=Found((), (Read("device-telemetry", 3, 500, 900, NOON_MS, ReadEnd.COST),), {"alarm-events": "it does not exist"})
    )
    assert (
        "Not known: device-telemetry[3] before offset 500, back to 2026-06-01T12:00:00Z: looking further back costs too much."
        in found.narrative
    )
    assert "Not known: what alarm-events says of it: it does not exist." in found.narrative
    assert not found.reads[0].complete


def test_an_explanation_is_read_back_as_it_was_written() -> None:
    known = facts(status_facts(), silence=SilenceFacts(timeout_s=300, decided_by="default"))
    found = explained(known, telemetry(1), registered=RegistryEntry(device_id=7, serial_number=SERIAL, site_id=1))
    assert Explanation.model_validate_json(orjson.dumps(found.model_dump(mode="json", by_alias=True))) == found


def test_of_a_device_that_has_moved_only_records_of_the_sites_that_may_be_seen_are_told() -> None:
    letter = (("dlt-original-topic", b"sites/2/devices/INV-001/telemetry"), ("dlt-error-class", b"invalid_json"))
    own = (("dlt-original-topic", b"sites/1/devices/INV-001/telemetry"), ("dlt-error-class", b"invalid_json"))
    records = (
        telemetry(1, siteId=2), telemetry(2), record("device-telemetry-dlt", 3, b"{", headers=letter), record("device-telemetry-dlt", 4, b"{", headers=own),
        record("device-status-reports", 5, b"\xff"), record("alarm-acknowledgements", 6, {"siteId": "1"}),
    )  # fmt: skip
    found, left_out = for_sites(Found(records, (), {}), frozenset({1}))
    assert ([each.offset for each in found.records], left_out) == ([2, 4], 4)

"""What becomes of a letter that is redriven: where it goes, or why it cannot."""

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from ems_streams.dead_letters.resolve import Resolver, Verdict
from ems_streams.dead_letters.views import detail_view
from ems_streams.domain.dead_letter import Headers, Origin, dead_letter_headers, replay_count_of
from ems_streams.domain.letter import Letter, LetterId, read_failure, read_letter
from ems_streams.domain.redrives import Done, Outcome, RedriveDefinition
from ems_streams.domain.registry import Directory, RegistryEntry
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.kafka.partitioner import partition_for

AT = datetime(2026, 1, 5, 10, 15, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
CATALOGUE = Catalogue("app", 4)
MQTT = Origin("sites/1/devices/INV-001/telemetry", AT_MS)
TELEMETRY = {
    "deviceId": 7,
    "serialNumber": "INV-001",
    "siteId": 1,
    "deviceType": "METER",
    "telemetryData": {"powerKw": 1.5},
    "timestamp": "2026-01-05T10:15:00Z",
    "eventType": "DEVICE_TELEMETRY",
}


class Registry:
    def __init__(self) -> None:
        self.entries: dict[str, RegistryEntry] = {}

    def get(self, serial_number: str) -> RegistryEntry | None:
        return self.entries.get(serial_number)

    def learn(self, entry: RegistryEntry) -> None:
        self.entries[entry.serial_number] = entry


def letter(
    origin: Origin | None,
    value: bytes | None = b"{",
    key: bytes | None = b"INV-001",
    *,
    topic: str | None = None,
    replays: int = 0,
    more: Headers | None = None,
) -> Letter:
    headers: Headers = list(more or [])
    if origin is not None:
        headers += dead_letter_headers(origin, "invalid_json", "wrong", stage="x", failed_at=AT, replay_count=replays)
    name = topic or ("device-telemetry-dlt" if origin is None or "/" in origin.topic else f"{origin.topic}-dlt")
    return read_letter(LetterId(name, 1, 9), AT_MS + 5000, key, value, headers)


def resolve(
    given: Letter, done: Done | None = None, *, newest: dict[Any, int] | None = None, provision: bool = True, **definition: Any
) -> Verdict:
    asked = RedriveDefinition.model_validate(
        {"redrive_id": "rd-1234", "topic": given.letter_id.topic, "ranges": {1: (0, 10)}, "created_at": AT, **definition}
    )
    partitions = {topic.name: topic.partitions for topic in CATALOGUE}
    resolver = Resolver(CATALOGUE, partitions, newest or {}, Directory(Registry(), provision_unknown=provision))
    return resolver.resolve(given, asked, done)


def test_a_record_goes_back_to_its_own_partition_with_its_own_bytes_and_one_replay_more() -> None:
    verdict = resolve(letter(Origin("device-telemetry", AT_MS, 3, 41), b"\xff\x00", replays=1))
    ((topic, partition, (key, value, headers)),) = verdict.outputs
    assert (verdict.outcome, topic, partition, key, value) == (Outcome.SENT, "device-telemetry", 3, b"INV-001", b"\xff\x00")
    assert replay_count_of(headers) == 2
    assert "invalid_json" in verdict.detail, "that its readers will find it malformed again is said before"


def test_a_partition_that_is_no_more_is_that_of_the_key() -> None:
    verdict = resolve(letter(Origin("device-telemetry", AT_MS, 11, 41), orjson.dumps(TELEMETRY)))
    assert verdict.outputs[0][1] == partition_for(b"INV-001", 4)
    assert verdict.detail == ""


@pytest.mark.parametrize(
    ("replays", "most", "wanted"), [(2, 3, Outcome.SENT), (3, 3, Outcome.QUARANTINED), (1, 1, Outcome.QUARANTINED), (5, 6, Outcome.SENT)]
)
def test_what_was_redriven_too_often_goes_to_the_quarantine_untouched(replays: int, most: int, wanted: Outcome) -> None:
    given = letter(Origin("device-telemetry", AT_MS, 3, 41), b"\xff", replays=replays)
    verdict = resolve(given, max_replays=most)
    assert verdict.outcome is wanted
    if wanted is Outcome.QUARANTINED:
        ((topic, partition, (key, value, headers)),) = verdict.outputs
        assert (topic, partition, key, value) == ("dead-letter-quarantine", 1, b"INV-001", b"\xff")
        assert headers == [*given.headers, ("dlt-letter", b"device-telemetry-dlt/1/9")]


def test_out_of_the_quarantine_goes_only_what_may_be_redriven_more_often() -> None:
    given = letter(Origin("device-telemetry", AT_MS, 3, 41), replays=3, topic="dead-letter-quarantine")
    refused = resolve(given)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "redriven_too_often")
    assert resolve(given, max_replays=4).outcome is Outcome.SENT


def test_what_was_done_is_not_done_again_unless_it_is_asked_for() -> None:
    given = letter(Origin("device-telemetry", AT_MS, 3, 41))
    done = Done(Outcome.SENT, "rd-0001", AT_MS)
    assert resolve(given, done).outcome is Outcome.DONE_BEFORE
    assert resolve(given, done).outputs == ()
    assert resolve(given, done, again=True).outcome is Outcome.SENT


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (letter(None), "no_origin"),
        (letter(Origin("device-telemetry", AT_MS, 0, 1), more=[("dlt-payload-size", b"5000000")]), "cut"),
        (letter(Origin("nobody-has-it", AT_MS, 0, 1)), "topic_gone"),
        (letter(Origin("ingress-heartbeats", AT_MS, 0, 1)), "no_use"),
        (letter(Origin("device-telemetry-dlt", AT_MS, 0, 1), topic="device-telemetry-dlt"), "no_use"),
        (letter(Origin("app-device-status-changelog", AT_MS, 0, 1), topic="device-telemetry-dlt"), "no_use"),
        (letter(Origin("device-telemetry", AT_MS, 0, 1), b"x" * 2_000_000), "too_large"),
        (letter(Origin("sites/1/devices/INV-001/commands", AT_MS), b"{}"), "no_use"),
    ],
)
def test_what_cannot_go_back_is_refused_with_the_reason(given: Letter, reason: str) -> None:
    verdict = resolve(given)
    assert (verdict.outcome, verdict.reason, verdict.outputs) == (Outcome.REFUSED, reason, ())
    assert verdict.detail


def test_an_entry_of_the_registry_that_has_a_newer_one_is_not_put_over_it() -> None:
    given = letter(Origin("device-registry", AT_MS, 2, 41), b"{}")
    newer = {("device-registry", 2, b"INV-001"): 50}
    assert resolve(given, newest=newer).reason == "superseded"
    assert resolve(given, newest={("device-registry", 2, b"INV-001"): 41}).outcome is Outcome.SENT
    mended = {"deviceId": 7, "serialNumber": "INV-001", "siteId": 1}
    edit = {"value": base64.b64encode(orjson.dumps(mended)).decode()}
    assert resolve(given, newest=newer, edit=edit).outcome is Outcome.SENT, "a person has looked at it"


def test_an_edited_record_is_sent_when_its_readers_can_read_it_and_not_before() -> None:
    given = letter(Origin("device-telemetry", AT_MS, 0, 1), orjson.dumps({**TELEMETRY, "telemetryData": {"powerKw": "high"}}))
    mended = resolve(given, edit={"sets": {"telemetryData.powerKw": 2.5}})
    assert orjson.loads(mended.outputs[0][2][1] or b"")["telemetryData"] == {"powerKw": 2.5}
    assert resolve(given, edit={"sets": {"telemetryData.powerKw": "low"}}).reason == "still_malformed"
    assert resolve(given, edit={"sets": {"telemetryData[0]": 1}}).reason == "cannot_edit"
    assert resolve(given, edits={"1/9": {"sets": {"telemetryData.powerKw": 3}}}).outcome is Outcome.SENT
    assert resolve(given, edit={"mqtt_topic": "sites/1/devices/X/status"}).reason == "cannot_edit"


def test_another_key_goes_to_its_own_partition() -> None:
    given = letter(Origin("device-telemetry", AT_MS, 0, 1), orjson.dumps(TELEMETRY), b"wrong")
    assert "key_mismatch" in resolve(given).detail
    verdict = resolve(given, edits={"1/9": {"key": "INV-001"}})
    assert (verdict.outputs[0][1], verdict.outputs[0][2][0], verdict.detail) == (partition_for(b"INV-001", 4), b"INV-001", "")


def test_what_came_over_mqtt_is_checked_as_the_ingress_does_with_the_time_of_its_receipt() -> None:
    verdict = resolve(letter(MQTT, b'{"powerKw": 45.2}', replays=1))
    registered, (topic, partition, (key, value, headers)) = verdict.outputs
    assert (verdict.outcome, topic, partition, key) == (Outcome.SENT, "device-telemetry", partition_for(b"INV-001", 4), b"INV-001")
    event = orjson.loads(value or b"")
    assert (event["telemetryData"], event["timestamp"]) == ({"powerKw": 45.2}, "2026-01-05T10:15:00.000009Z")
    assert replay_count_of(headers) == 2
    assert (registered[0], registered[2][0]) == ("device-registry", b"INV-001"), "a device that nobody knew is registered with it"


def test_what_is_still_malformed_is_a_dead_letter_again_with_its_count() -> None:
    given = letter(MQTT, b"powerKw=45.2", replays=1, more=[("traceparent", b"00-1")])
    verdict = resolve(given)
    ((topic, partition, (key, value, headers)),) = verdict.outputs
    assert (verdict.outcome, topic, partition, key, value) == (Outcome.FAILED_AGAIN, "device-telemetry-dlt", 1, b"INV-001", b"powerKw=45.2")
    failure = read_failure(headers)
    assert (failure.origin, failure.error_class, failure.stage) == (MQTT, "invalid_json", "ingress")
    assert (failure.replay_count, failure.attempts, failure.first_failed_at) == (2, 2, "2026-01-05T10:15:00Z")
    assert ("traceparent", b"00-1") in headers


def test_a_message_on_a_wrong_topic_goes_by_the_right_one() -> None:
    given = letter(Origin("sites/01/devices/INV-001/telemetry", AT_MS), b'{"powerKw": 1}')
    assert resolve(given).outcome is Outcome.FAILED_AGAIN
    assert resolve(given, edits={"1/9": {"mqtt_topic": MQTT.topic}}).outcome is Outcome.SENT
    assert resolve(given, edits={"1/9": {"mqtt_topic": "nowhere"}}).reason == "still_malformed"


def test_a_device_that_must_be_registered_first_fails_again_until_it_is() -> None:
    verdict = resolve(letter(MQTT, b'{"powerKw": 1}'), provision=False)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILED_AGAIN, "unknown_device")


@pytest.mark.parametrize(
    ("mqtt_topic", "letters"),
    [("sites/1/devices/INV-001/status", "device-status-reports-dlt"), ("sites/01/devices/INV-001/telemetry", "device-telemetry-dlt")],
)
def test_out_of_the_quarantine_what_is_still_malformed_goes_to_the_letters_that_the_ingress_would_take(
    mqtt_topic: str, letters: str
) -> None:
    verdict = resolve(letter(Origin(mqtt_topic, AT_MS), topic="dead-letter-quarantine"))
    assert (verdict.outcome, verdict.target) == (Outcome.FAILED_AGAIN, letters)


@pytest.mark.parametrize("timestamp_ms", [99_999_999_999_999_999, -5])
def test_a_time_that_cannot_be_is_as_if_it_were_not_there(timestamp_ms: int) -> None:
    verdict = resolve(letter(Origin(MQTT.topic, timestamp_ms), b'{"powerKw": 1}'))
    (_, (_, _, (_, value, _))) = verdict.outputs
    assert orjson.loads(value or b"")["timestamp"] == "2026-01-05T10:15:05.000009Z", "that of the letter"


def test_a_letter_of_a_time_that_cannot_be_is_shown_and_sent_all_the_same() -> None:
    given = letter(MQTT, b'{"powerKw": 1}')
    odd = read_letter(given.letter_id, 2**62, given.key, given.value, [])
    assert detail_view(odd, None)["at"] == "1970-01-01T00:00:00Z"
    headers = dead_letter_headers(Origin(MQTT.topic, -1), "invalid_json", "wrong", stage="x", failed_at=AT)
    (_, (_, _, (_, value, _))) = resolve(read_letter(given.letter_id, -1, given.key, given.value, headers)).outputs
    assert orjson.loads(value or b"")["timestamp"] == "2026-01-05T10:15:00.000009Z", "that of its first failure"
    timeless = [(name, content) for name, content in headers if name != "dlt-first-failed-at"]
    assert resolve(read_letter(given.letter_id, -1, given.key, given.value, timeless)).reason == "no_time"


def test_a_first_failure_before_all_times_is_as_if_it_were_not_there() -> None:
    given = letter(MQTT, more=[("dlt-first-failed-at", b"0001-01-01T00:00:00+01:00")])
    headers = [(name, content) for name, content in given.headers if (name, content[:2]) != ("dlt-first-failed-at", b"20")]
    verdict = resolve(read_letter(given.letter_id, given.timestamp_ms, given.key, given.value, headers))
    ((_, _, (_, _, written)),) = verdict.outputs
    assert verdict.outcome is Outcome.FAILED_AGAIN
    assert read_failure(written).first_failed_at == "2026-01-05T10:15:00.000009Z"


def test_json_that_could_not_be_written_again_is_edited_as_a_whole_or_not_at_all() -> None:
    nested = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
    given = letter(Origin("device-telemetry", AT_MS, 0, 1), nested)
    refused = resolve(given, edit={"sets": {"x": 1}})
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "cannot_edit")
    assert "nested too deeply" in refused.detail
    assert detail_view(given, None)["valueJson"] is None

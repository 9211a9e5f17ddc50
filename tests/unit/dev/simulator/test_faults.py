from collections import Counter, defaultdict
from dataclasses import fields, replace
from itertools import pairwise

import orjson
import pytest

from ems_streams.dev.simulator import FaultPlan, FaultShares, FleetOptions, fleet_readings, parse_faults
from ems_streams.dev.simulator.fault_shares import DEFAULT_SHARES
from ems_streams.dev.simulator.publications import Kind, Publication
from ems_streams.errors import UsageError

OPTIONS = FleetOptions(seed=7, devices=100, sites=4, rate=200.0, duration_s=200.0, start_ms=1_759_572_900_000)


def publish(shares: FaultShares, options: FleetOptions = OPTIONS, *, goodbye: bool = False) -> list[Publication]:
    plan = FaultPlan(options.seed, shares)
    return [*plan.publications(fleet_readings(options)), *plan.finish(options.duration_s, goodbye)]


def by_device(publications: list[Publication]) -> dict[int, list[Publication]]:
    devices: dict[int, list[Publication]] = defaultdict(list)
    for publication in publications:
        devices[publication.lane].append(publication)
    return devices


def stamp(publication: Publication) -> int:
    assert publication.reading is not None
    return publication.reading.timestamp_ms


PLAIN = publish(FaultShares())


def test_without_faults_every_reading_is_published_once_after_an_online_report() -> None:
    assert Counter(publication.kind for publication in PLAIN) == {Kind.TELEMETRY: 40_000, Kind.STATUS: 100}
    for publications in by_device(PLAIN).values():
        assert publications[0].kind is Kind.STATUS
        assert orjson.loads(publications[0].payload)["status"] == "ONLINE"
        stamps = [stamp(each) for each in publications[1:]]
        assert stamps == sorted(set(stamps))


def test_payload_is_what_the_ledger_will_say() -> None:
    publication = next(each for each in PLAIN if each.kind is Kind.TELEMETRY)
    reading = publication.reading
    assert reading is not None
    assert publication.topic == f"sites/{reading.device.site_id}/devices/{reading.device.serial_number}/telemetry"
    assert orjson.loads(publication.payload) == {
        "telemetryData": reading.metrics,
        "timestamp": "2025-10-04T10:15:00.000Z",
        "messageId": reading.message_id,
        "deviceType": reading.device.device_type,
    }


def test_same_seed_and_shares_give_the_same_publications() -> None:
    assert publish(DEFAULT_SHARES) == publish(DEFAULT_SHARES)


def test_faults_do_not_change_what_is_measured() -> None:
    plain = {each.reading.message_id: each.reading.metrics for each in PLAIN if each.reading}
    faulty = {each.reading.message_id: each.reading.metrics for each in publish(DEFAULT_SHARES) if each.reading}
    assert faulty.items() <= plain.items()


def test_duplicates_are_the_same_bytes_right_after_their_original() -> None:
    publications = publish(FaultShares(duplicates=0.05))
    duplicates = [number for number, each in enumerate(publications) if each.kind is Kind.DUPLICATE]
    assert len(duplicates) == pytest.approx(2000, rel=0.15)
    for number in duplicates:
        original, copy = publications[number - 1], publications[number]
        assert (original.topic, original.payload) == (copy.topic, copy.payload)
        assert original.reading is copy.reading, "one reading, so that it gets one line"


def test_out_of_order_swaps_neighbours_and_loses_nothing() -> None:
    publications = publish(FaultShares(out_of_order=0.05))
    telemetry = [each for each in publications if each.kind is Kind.TELEMETRY]
    assert {each.payload for each in telemetry} == {each.payload for each in PLAIN if each.kind is Kind.TELEMETRY}
    swaps = 0
    for device in by_device(telemetry).values():
        sequences = [each.reading.sequence for each in device if each.reading]
        swaps += sum(before == after + 1 for before, after in pairwise(sequences))
        assert max(abs(place - sequence) for place, sequence in enumerate(sequences)) <= 1
    assert swaps == pytest.approx(2000, rel=0.15)
    assert [each.due_s for each in publications] == sorted(each.due_s for each in publications)


def test_late_messages_are_up_to_two_hours_old() -> None:
    delays = [OPTIONS.start_ms + round(each.due_s * 1000) - stamp(each) for each in publish(FaultShares(late=0.05)) if each.reading]
    late = [delay for delay in delays if delay > 1000]
    assert len(late) == pytest.approx(2000, rel=0.15)
    assert min(late) >= 59_000
    assert max(late) <= 7_200_100


def test_clock_skew_is_a_constant_of_the_device() -> None:
    skewed = 0
    plain = by_device(PLAIN)
    for lane, publications in by_device(publish(FaultShares(clock_skew=0.3))).items():
        offsets = {stamp(mine) - stamp(true) for mine, true in zip(publications[1:], plain[lane][1:], strict=True)}
        assert len(offsets) == 1
        offset = offsets.pop()
        skewed += offset != 0
        assert abs(offset) <= 300_000
    assert 20 <= skewed <= 40


def test_silence_is_a_gap_and_half_of_the_silent_say_offline() -> None:
    publications = publish(FaultShares(silence=0.4))
    silent = announced = 0
    for device in by_device(publications).values():
        stamps = [stamp(each) for each in device if each.kind is Kind.TELEMETRY]
        gaps = [after - before for before, after in pairwise(stamps)]
        statuses = [orjson.loads(each.payload)["status"] for each in device if each.kind is Kind.STATUS]
        silent += max(gaps) >= 19_000
        announced += "OFFLINE" in statuses
        assert all(before != after for before, after in pairwise(statuses))
        assert max(gaps) <= 91_000
    assert 30 <= silent <= 50
    assert 0.25 * silent <= announced <= 0.75 * silent


def test_telemetry_never_follows_an_offline_report_without_an_online_one() -> None:
    for device in by_device(publish(FaultShares(silence=1.0, flapping=1.0))).values():
        status = ""
        for publication in device:
            if publication.kind is Kind.STATUS:
                status = orjson.loads(publication.payload)["status"]
            else:
                assert status == "ONLINE"


def test_flapping_reports_offline_and_online_in_quick_succession() -> None:
    flapping = 0
    for device in by_device(publish(FaultShares(flapping=0.3))).values():
        reports = [orjson.loads(each.payload) for each in device if each.kind is Kind.STATUS][1:]
        flapping += bool(reports)
        assert [report["status"] for report in reports] == ["OFFLINE", "ONLINE"] * (len(reports) // 2)
        assert [report["timestamp"] for report in reports] == sorted({report["timestamp"] for report in reports})
    assert 20 <= flapping <= 40


def test_poison_comes_on_top() -> None:
    publications = publish(FaultShares(poison=0.01), replace(OPTIONS, duration_s=50.0))
    assert sum(each.kind is Kind.TELEMETRY for each in publications) == 10_000
    assert sum(each.kind is Kind.POISON for each in publications) == pytest.approx(100, rel=0.35)
    assert all(each.reading is None for each in publications if each.kind is Kind.POISON)


def test_goodbye_reports_every_device_offline_once() -> None:
    publications = publish(FaultShares(silence=0.5), goodbye=True)
    for device in by_device(publications).values():
        last = [each for each in device if each.kind is Kind.STATUS][-1]
        assert orjson.loads(last.payload)["status"] == "OFFLINE"


def test_faults_are_read_from_text() -> None:
    assert parse_faults("") == FaultShares()
    assert parse_faults("duplicates=0.5, out-of-order,clock-skew=1") == FaultShares(duplicates=0.5, out_of_order=0.01, clock_skew=1.0)
    assert parse_faults("all") == DEFAULT_SHARES
    assert all(getattr(DEFAULT_SHARES, field.name) > 0 for field in fields(FaultShares))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fire=0.1", "'fire' is not a fault"),
        ("late=2", "late=2"),
        ("late=x", "between 0 and 1"),
        ("late=", "between 0 and 1"),
        ("late=nan", "between 0 and 1"),
    ],
)
def test_faults_that_cannot_be_meant(text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        parse_faults(text)

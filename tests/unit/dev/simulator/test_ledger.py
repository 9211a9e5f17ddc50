import math
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from ems_streams.dev.simulator import (
    FaultPlan,
    FaultShares,
    FleetOptions,
    LedgerError,
    LedgerWriter,
    Totals,
    fleet_readings,
    read_ledger,
    totals,
)
from ems_streams.dev.simulator.publications import Kind, Publication

OPTIONS = FleetOptions(seed=7, devices=8, sites=2, rate=50.0, duration_s=4.0, start_ms=1_759_572_900_000)
ENTRY = '{"serialNumber":"%s","siteId":1,"timestamp":"%s","messageId":"%s","metrics":{"powerKw":%s}}\n'


def publications(shares: FaultShares | None = None) -> list[Publication]:
    plan = FaultPlan(7, shares or FaultShares())
    return [*plan.publications(fleet_readings(OPTIONS)), *plan.finish(4.0, goodbye=False)]


def test_one_line_per_acknowledged_message_also_when_it_went_out_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with LedgerWriter(path) as ledger:
        for publication in publications(FaultShares(duplicates=1.0)):
            ledger.acknowledged(publication)
    lines = list(read_ledger(path))
    assert len(lines) == ledger.lines == 200
    assert len({line["messageId"] for line in lines}) == 200
    assert set(lines[0]) == {"serialNumber", "siteId", "timestamp", "messageId", "metrics"}


def test_what_was_not_acknowledged_is_a_maybe_unless_its_copy_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    first, copy = publications(FaultShares(duplicates=1.0))[1:3]
    other = publications()[-1]
    assert copy.kind is Kind.DUPLICATE
    with LedgerWriter(path) as ledger:
        ledger.acknowledged(first)
        ledger.unacknowledged(copy)
        ledger.unacknowledged(other)
    assert first.reading is not None
    assert other.reading is not None
    assert [line["messageId"] for line in read_ledger(path)] == [first.reading.message_id]
    assert [line["messageId"] for line in read_ledger(tmp_path / "ledger.unacknowledged")] == [other.reading.message_id]


def test_poison_is_never_in_the_ledger_but_beside_it_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    everything = publications(FaultShares(poison=1.0))
    with LedgerWriter(path) as ledger:
        for publication in everything:
            ledger.acknowledged(publication)
    poison = [(each.label, each.topic, each.payload) for each in everything if each.kind is Kind.POISON]
    assert len(poison) == 200
    assert [(line["kind"], line["topic"], b64decode(line["payload"])) for line in read_ledger(Path(f"{path}.poison"))] == poison
    assert ledger.lines == 200


def test_status_reports_only_when_asked_for(tmp_path: Path) -> None:
    for statuses, expected in ((False, 0), (True, 8)):
        path = tmp_path / f"ledger-{statuses}"
        with LedgerWriter(path, statuses) as ledger:
            for publication in publications():
                ledger.acknowledged(publication)
        assert sum(line.get("kind") == "status" for line in read_ledger(path)) == expected
        assert sum(metrics["powerKw"].count for metrics in totals(path).values()) == 200


def test_files_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    for suffix in ("", ".poison", ".unacknowledged"):
        Path(f"{path}{suffix}").write_text("old\n")
    LedgerWriter(path).__enter__().close()
    assert [file.name for file in tmp_path.iterdir()] == ["ledger"]
    assert path.read_bytes() == b""


def test_without_a_path_nothing_is_written_but_lines_are_counted() -> None:
    with LedgerWriter(None) as ledger:
        ledger.acknowledged(publications()[1])
    assert ledger.lines == 1


def test_totals_are_exact_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    values = [0.1] * 10 + [1e16, 1.0, -1e16]
    path.write_text(
        "".join(ENTRY % ("A", f"2025-01-01T00:00:{number:02d}.000Z", f"m{number:02d}", value) for number, value in enumerate(values))
    )
    assert totals(path) == {"A": {"powerKw": Totals(count=13, sum=math.fsum(values), min=-1e16, max=1e16, last=-1e16)}}
    assert totals(path)["A"]["powerKw"].sum == 2.0


def test_last_is_of_the_greatest_device_timestamp_not_of_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    stamps = [
        ("2025-01-01T00:00:02.000Z", "m2", 2),
        ("2025-01-01T00:00:02.000Z", "m3", 3),
        ("2025-01-01T00:00:02.000Z", "m1", 1),
        ("2025-01-01T00:00:01.999Z", "m9", 9),
    ]
    path.write_text("".join(ENTRY % ("A", *stamp) for stamp in stamps))
    assert totals(path)["A"]["powerKw"].last == 3.0


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text(ENTRY % ("A", "t", "m", 1) + '{"serial')
    with pytest.raises(LedgerError, match=r"ledger:2: not a ledger line"):
        totals(path)


def test_a_ledger_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        LedgerWriter(tmp_path / "missing" / "ledger").__enter__()


def test_a_moved_reading_is_acknowledged_on_its_own() -> None:
    reading = next(fleet_readings(OPTIONS))
    assert replace(reading, timestamp_ms=1).acknowledged is False

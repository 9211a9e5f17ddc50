"""Telemetry of files for trials, and the signals that are drawn of them."""

from pathlib import Path
from typing import Any

import pytest

from ems_streams.cli.signal_plot import Plot, draw
from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarm_trial import TrialResult
from ems_streams.errors import UsageError
from ems_streams.rules.signals import fill_from_file, signals_of
from ems_streams.rules.trial import FileSource, try_on_file
from ems_streams.settings import Settings

HEAD = "timestamp,serialNumber,siteId,deviceType,temperature,powerKw\n"
ROWS = [
    "2025-06-21T08:00:00Z,B-1,1,BATTERY,60,1",
    "2025-06-21T08:00:10Z,B-1,1,BATTERY,71,1",
    "2025-06-21T08:00:10Z,B-2,1,BATTERY,90,1",
    "2025-06-21T08:00:20Z,B-1,1,BATTERY,71,",
    "2025-06-21T08:00:30Z,B-1,1,BATTERY,64,1",
]


def a_rule(rule_id: str = "hot", **fields: Any) -> AlarmRule:
    condition = {"kind": "threshold", "metric": "temperature", "above": 70, "clearAt": 65}
    return AlarmRule.model_validate({"id": rule_id, "title": "Hot", "severity": "WARNING", "condition": condition} | fields)


def nothing(_done: int, _total: int) -> None:
    pass


def tried(path: Path, text: str, *devices: str) -> tuple[TrialResult, FileSource]:
    path.write_text(text)
    source = FileSource(path, None, devices)
    return try_on_file(Settings.load(), [a_rule()], source, nothing), source


def raised(result: TrialResult) -> list[tuple[str, str, str | None]]:
    return [
        (alarm.serial_number, f"{alarm.raised_at:%H:%M:%S}", None if alarm.cleared_at is None else f"{alarm.cleared_at:%H:%M:%S}")
        for alarm in result.alarms
    ]


BOTH = [("B-1", "08:00:10", "08:00:30"), ("B-2", "08:00:10", None)]


def test_a_recording_in_csv_and_one_in_json_lines_say_the_same(tmp_path: Path) -> None:
    as_csv, _ = tried(tmp_path / "a.csv", HEAD + "\n".join(ROWS))
    lines = [
        f'{{"timestamp":"{time}","serialNumber":"{serial}","siteId":{site},"deviceType":"{kind}","telemetryData":{{"temperature":{temperature}}}}}'
        for time, serial, site, kind, temperature, _ in (row.split(",") for row in ROWS)
    ]
    as_json, _ = tried(tmp_path / "a.jsonl", "\n".join(lines))

    assert raised(as_csv) == raised(as_json) == BOTH
    assert (as_csv.messages, as_csv.devices) == (as_json.messages, as_json.devices) == (5, 2)


def test_rows_may_be_sorted_by_device(tmp_path: Path) -> None:
    result, _ = tried(tmp_path / "a.csv", HEAD + "\n".join(sorted(ROWS, key=lambda row: row.split(",")[1])))

    assert raised(result) == BOTH


def test_one_device_may_be_chosen(tmp_path: Path) -> None:
    result, _ = tried(tmp_path / "a.csv", HEAD + "\n".join(ROWS), "B-2")

    assert (raised(result), result.messages) == (BOTH[1:], 1)


def test_rows_that_are_no_telemetry_are_told_and_left_out(tmp_path: Path) -> None:
    bad = ["soon,B-1,1,BATTERY,99,1", "2025-06-21T08:00:11Z,B-1,1,BATTERY,hot,1", "2025-06-21T08:00:11Z,B-1,,BATTERY,99,1"]
    result, source = tried(tmp_path / "a.csv", HEAD + "\n".join([*bad, *ROWS]))

    assert raised(result) == BOTH
    assert [row.line for row in source.bad] == [2, 3, 4]
    assert "temperature='hot'" in source.bad[1].reason


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"x", r"--format 'txt': expected csv or jsonl"),
        (
            "a.csv",
            b"time,serial\n1,2\n",
            r"a\.csv: cannot be read as csv: invalid_header: time,serial: must name serialNumber and timestamp",
        ),
        ("a.csv", HEAD.encode() + b"\xff\n", r"a\.csv: cannot be read as csv: .*codec can't decode byte 0xff"),
    ],
)
def test_what_is_no_recording_is_said_so(name: str, data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(UsageError, match=expected):
        try_on_file(Settings.load(), [a_rule()], FileSource(path, None, []), nothing)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv: cannot be read as csv: .*No such file"):
        try_on_file(Settings.load(), [a_rule()], FileSource(tmp_path / "nowhere.csv", None, []), nothing)


def test_signals_are_those_around_the_alarms_with_their_limits(tmp_path: Path) -> None:
    result, source = tried(tmp_path / "a.csv", HEAD + "\n".join(ROWS))
    signals = signals_of(result, 5)
    fill_from_file(signals, source)

    assert [(each.alarm.serial_number, each.values) for each in signals] == [("B-1", [60, 71, 71, 64]), ("B-2", [90])]
    assert signals[0].limits == [("clear", 65.0), ("limit", 70.0)]
    assert [letter for letter, _ in signals[0].marks] == ["R", "C"]
    assert len(signals_of(result, 1)) == 1


def test_a_drawn_signal_has_its_limits_its_marks_and_the_time_of_the_alarm() -> None:
    plot = Plot([0, 10, 20, 30, 40], [0.0, 10.0, 10.0, 10.0, 0.0], [("limit", 8.0)], [("R", 10), ("C", 40)], (10, 40))

    lines = draw(plot, width=5, height=6)

    assert lines == [
        "        10 │ ████",
        "     limit │-█--█",
        "           │ █  █",
        "           │ █  █",
        "           │ █  █",
        "         0 │██  █",
        "           └─R▀▀C",
    ]


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0]])
def test_signals_of_few_values_can_be_drawn(values: list[float]) -> None:
    assert bool(draw(Plot(list(range(len(values))), values))) == bool(values)

from pathlib import Path

import pytest

from ems_streams.dev.simulator import RecordingError, check_recording, recorded_readings

HEADER = "timestamp,serialNumber,siteId,deviceType,powerKw,voltage\n"
GOOD = HEADER + (
    "2025-10-04T10:15:00Z,INV-001,1,SOLAR_INVERTER,45.2,480.5\n"
    "2025-10-04T10:15:02.500Z,INV-001,1,SOLAR_INVERTER,46,\n"
    "\n"
    "2025-10-04T12:15:01+02:00,MTR-1,2,METER,,400\n"
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recording.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_readings_in_the_order_and_pace_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert check_recording(path).rows == 3
    readings = list(recorded_readings(path, seed=5, speed=2.0))
    assert [(reading.device.serial_number, reading.device.site_id, reading.metrics) for reading in readings] == [
        ("INV-001", 1, {"powerKw": 45.2, "voltage": 480.5}),
        ("INV-001", 1, {"powerKw": 46.0}),
        ("MTR-1", 2, {"voltage": 400.0}),
    ]
    assert [reading.due_s for reading in readings] == [0.0, 1.25, 1.25], "half the time; time never goes back"
    assert [reading.timestamp_ms % 100_000 for reading in readings] == [0, 2500, 1000]
    assert [reading.message_id.split("-", 2)[2] for reading in readings] == ["INV-001-00000000", "INV-001-00000001", "MTR-1-00000000"]


def test_speed_zero_does_not_wait_and_a_start_moves_all_times(tmp_path: Path) -> None:
    readings = list(recorded_readings(write(tmp_path, GOOD), seed=5, speed=0.0, start_ms=1_000_000))
    assert {reading.due_s for reading in readings} == {0.0}
    assert [reading.timestamp_ms for reading in readings] == [1_000_000, 1_002_500, 1_001_000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "recording.csv:1: the header must begin with timestamp,serialNumber,siteId,deviceType; it is empty"),
        ("timestamp,serial,siteId,deviceType,powerKw\n", "recording.csv:1: the header must begin"),
        ("timestamp,serialNumber,siteId,deviceType\n", "recording.csv:1: 0 metric columns"),
        ("timestamp,serialNumber,siteId,deviceType,power kw\n", "recording.csv:1: 'power kw' is not a metric name"),
        ("timestamp,serialNumber,siteId,deviceType,a,a\n", "recording.csv:1: column 'a' occurs more than once"),
        (HEADER, "no rows to replay"),
        (HEADER + "2025-10-04T10:15:00Z,INV-001,1,X,45.2\n", "recording.csv:2: 5 cells; expected 6"),
        (HEADER + "yesterday,INV-001,1,X,45.2,1\n", "recording.csv:2: timestamp='yesterday': expected an ISO-8601 time"),
        (HEADER + "2025-10-04T10:15:00Z,INV 001,1,X,45.2,1\n", "recording.csv:2: serialNumber='INV 001'"),
        (HEADER + "2025-10-04T10:15:00Z,INV-001,one,X,45.2,1\n", "recording.csv:2: siteId='one': expected a whole number"),
        (HEADER + "2025-10-04T10:15:00Z,INV-001,1,X,lots,1\n", "recording.csv:2: powerKw='lots': expected a finite number"),
        (HEADER + "2025-10-04T10:15:00Z,INV-001,1,X,nan,1\n", "recording.csv:2: powerKw='nan': expected a finite number"),
        (HEADER + "2025-10-04T10:15:00Z,INV-001,1,X,,\n", "recording.csv:2: no metric has a value"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(RecordingError) as caught:
        check_recording(write(tmp_path, text))
    assert expected in str(caught.value)


def test_bad_rows_can_be_skipped_and_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "x\n2025-10-04T10:15:09Z,INV-001,1,X,1,1\ny\n")
    recording = check_recording(path, skip_bad_rows=True)
    assert recording.rows == 4
    assert [problem.split(":")[1] for problem in recording.problems] == ["6", "8"]
    assert len(list(recorded_readings(path, seed=1, speed=0.0))) == 4


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"and 30 more"):
        check_recording(write(tmp_path, HEADER + "x\n" * 50))


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be read"):
        check_recording(tmp_path / "nothing.csv")

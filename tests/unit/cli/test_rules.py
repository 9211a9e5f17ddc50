"""`ems-streams rules` as it is run, as far as it needs no Kafka."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RULES = """\
rules:
  - id: battery-hot
    title: Battery hot
    severity: WARNING
    condition: {kind: threshold, metric: temperature, above: 70, clearAt: 65}
  - id: typo
    title: Typo
    severity: INFO
    condition: {kind: threshold, metric: temprature, above: 70}
"""
DATA = """\
timestamp,serialNumber,siteId,deviceType,temperature
2025-06-21T08:00:00Z,B-1,1,BATTERY,60
2025-06-21T08:00:10Z,B-1,1,BATTERY,71.5
2025-06-21T08:00:20Z,B-1,1,BATTERY,60
2025-06-21T08:00:30Z,B-1,1,BATTERY,x
2025-06-21T08:00:40Z,B-1,1,BATTERY,75
"""


def rules(*arguments: object) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("EMS_")}
    env |= {"EMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    command = [sys.executable, "-m", "ems_streams", "rules", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "data.csv").write_text(DATA)
    return tmp_path / "rules.yaml", tmp_path / "data.csv"


def test_check_says_what_is_wrong_and_ends_with_1(files: tuple[Path, Path]) -> None:
    path, _ = files
    path.write_text(RULES.replace("WARNING", "warning").replace("above: 70}", "above: 70, for: 5}"))

    said, as_json = rules("check", path), rules("check", path, "--json")

    members = "above, below, clearAt, clearForS, forS, kind, metric"
    assert (said.returncode, as_json.returncode) == (1, 1)
    assert said.stdout.splitlines() == [
        f"{path}:4:15: rules[0].severity='warning': expected 'INFO', 'WARNING' or 'CRITICAL'; did you mean WARNING?",
        f"{path}:9:65: rules[1].condition.for: there is no such member; expected some of {members}; did you mean forS?",
    ]
    assert json.loads(as_json.stdout)["problems"][0] == {
        "line": 4,
        "column": 15,
        "place": "rules[0].severity",
        "value": "'warning'",
        "problem": "expected 'INFO', 'WARNING' or 'CRITICAL'; did you mean WARNING?",
    }


def test_check_shows_what_would_have_been_raised(files: tuple[Path, Path]) -> None:
    path, data = files

    said = rules("check", path, "--recorded", data, "--plot", 1)

    assert said.returncode == 0
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    assert lines[1] == "2025-06-21T08:00:10Z B-1 1 battery-hot WARNING 71.5 2025-06-21T08:00:20Z 10 s temperature is 60"
    assert lines[2] == "2025-06-21T08:00:40Z B-1 1 battery-hot WARNING 75 0 s not over when the data ends"
    assert "B-1 temperature: battery-hot, R raised, C cleared" in lines
    assert lines[-2:] == ["battery-hot 1 2 1 0 1 10 s 10 s", "typo 1 0 0 0 0 no device sent temprature"]
    assert "typo: has neither hysteresis nor a duration" in said.stderr
    assert "battery-hot: has" not in said.stderr
    assert "data.csv:5: invalid_field: telemetryData.temperature='x'" in said.stderr
    assert "4 messages of 1 devices from 2025-06-21T08:00:00Z to 2025-06-21T08:00:40Z, 1 bad; 2 alarms" in said.stderr


def test_check_gives_programs_the_same_as_json(files: tuple[Path, Path]) -> None:
    path, data = files

    found = json.loads(rules("check", path, "--recorded", data, "--json").stdout)

    assert [(alarm["ruleId"], alarm["raisedAt"], alarm["clearedAt"], alarm["durationS"]) for alarm in found["alarms"]] == [
        ("battery-hot", "2025-06-21T08:00:10Z", "2025-06-21T08:00:20Z", 10.0),
        ("battery-hot", "2025-06-21T08:00:40Z", None, 0.0),
    ]
    assert [(each["ruleId"], each["alarms"], each["remark"]) for each in found["byRule"]] == [
        ("battery-hot", 2, None),
        ("typo", 0, "no device sent temprature"),
    ]
    assert [row["line"] for row in found["bad"]] == [5]
    assert [each["ruleId"] for each in found["advice"]] == ["typo"]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("check",), 2, "expected a file of rules, or --builtin"),
        (("check", "rules.yaml", "--builtin"), 2, "expected a file of rules, or --builtin"),
        (("check", "--builtin", "--since", "1h"), 2, "--since: expected only with --recorded or --from-topic"),
        (("check", "--builtin", "--recorded", "data.csv", "--until", "1h"), 2, "--until: expected only with --from-topic"),
        (("check", "--builtin", "--recorded", "data.csv", "--from-topic"), 2, "expected either --recorded or --from-topic"),
        (
            ("check", "--builtin", "--from-topic", "--since", "soon"),
            2,
            "--since 'soon': expected how long ago, such as 90m, or an ISO-8601 time",
        ),
        (("check", "--builtin", "--from-topic", "--since", "1w"), 2, "--since '1w': expected a whole number of s, m, h or d"),
        (("check", "--builtin", "--from-topic", "--since", "1h", "--until", "2h"), 2, "expected a time before"),
        (("check", "--builtin", "--from-topic"), 3, "Kafka does not answer at 127.0.0.1:1"),
        (("apply", "nowhere.yaml"), 2, "nowhere.yaml: cannot be read (No such file or directory); expected a file of alarm rules"),
        (("apply", "--builtin"), 3, "Kafka does not answer at 127.0.0.1:1"),
        (("list",), 3, "Kafka does not answer at 127.0.0.1:1"),
        (("remove",), 2, "expected ids of rules, or --all"),
        (("remove", "a", "--all"), 2, "expected ids of rules, or --all"),
    ],
)
def test_wrong_usage_and_a_kafka_that_is_away_are_one_line(arguments: tuple[str, ...], code: int, expected: str) -> None:
    done = rules(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""`ems-streams channels check` as it is run."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "docs" / "howto" / "channels.example.yaml"
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZyE="


def channels(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("EMS_")} | environment
    return subprocess.run(
        [sys.executable, "-m", "ems_streams", "channels", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_check_says_what_is_wrong_and_ends_with_1(tmp_path: Path) -> None:
    wrong = tmp_path / "channels.yaml"
    wrong.write_text(EXAMPLE.read_text().replace("severity_at_least: CRITICAL", "severity_at_least: HIGH"))

    said, as_json = channels("check", str(wrong), "--no-secrets"), channels("check", str(wrong), "--no-secrets", "--json")

    assert (said.returncode, as_json.returncode) == (1, 1)
    assert f"{wrong}: line 35: routes[1].severity_at_least='HIGH': expected 'INFO', 'WARNING' or 'CRITICAL'" in said.stdout
    assert json.loads(as_json.stdout)["problems"] == [
        {"line": 35, "place": "routes[1].severity_at_least", "problem": "'HIGH': expected 'INFO', 'WARNING' or 'CRITICAL'"}
    ]


def test_check_looks_for_secrets_unless_told_not_to() -> None:
    without, not_asked = channels("check", str(EXAMPLE)), channels("check", str(EXAMPLE), "--no-secrets")
    with_them = channels("check", str(EXAMPLE), EMS_OPS_WEBHOOK_SECRET=SECRET, EMS_SMTP_PASSWORD="x")

    assert (without.returncode, not_asked.returncode, with_them.returncode) == (1, 0, 0)
    assert without.stdout.count("the variable is not set") == 3
    assert "3 channels, 3 routes, nothing wrong" in not_asked.stdout


def test_status_and_test_need_a_file() -> None:
    for arguments in (("status",), ("test", "ops")):
        done = channels(*arguments)
        assert done.returncode == 2
        assert "EMS_CHANNELS_FILE" in done.stderr


def test_status_says_when_kafka_is_not_there() -> None:
    done = channels("status", "--file", str(EXAMPLE), EMS_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")

    assert done.returncode == 3
    assert "Kafka does not answer at 127.0.0.1:1" in done.stderr


def test_a_notifier_with_a_wrong_file_does_not_start(tmp_path: Path) -> None:
    wrong = tmp_path / "channels.yaml"
    wrong.write_text("channels: 1\n")
    env = os.environ | {"EMS_CHANNELS_FILE": str(wrong)}

    done = subprocess.run(
        [sys.executable, "-m", "ems_streams", "notifier"], env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "line 1: channels=1: expected members by name" in done.stderr

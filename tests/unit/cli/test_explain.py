"""What `ems-streams explain` refuses before it asks anybody, and how it shows an explanation."""

import pytest
from typer.testing import CliRunner

from ems_streams.cli.explain_output import print_explanation
from ems_streams.cli.main import app
from ems_streams.errors import UsageError
from tests.unit.domain.test_explaining import explained, facts, status_facts, telemetry, will


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("no/such", "'no/such': expected a serial number"), ("X --since soon", "--since 'soon': expected how long ago")],
)
def test_what_cannot_be_meant_is_refused_in_words(arguments: str, said: str) -> None:
    result = CliRunner().invoke(app, ["explain", *arguments.split()])
    assert isinstance(result.exception, UsageError), result.output
    assert said in str(result.exception)


@pytest.mark.parametrize("arguments", ["X --limit 0", "X --limit 1001", "X --timeout 0", ""])
def test_numbers_out_of_range_are_wrong_usage(arguments: str) -> None:
    assert CliRunner().invoke(app, ["explain", *arguments.split()]).exit_code == 2


def test_people_read_why_first_then_what_comes_next_then_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(
        facts(status_facts()), telemetry(10, messageId="m1"), telemetry(11, messageId="m1", power_kw=2.0), will(1234, 1_780_000_000_000)
    )
    print_explanation(found)
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == found.narrative[0]
    assert lines[1] == "  partition 3, no worker is known to have it"
    assert lines.index("What changes it next") < lines.index("Its records since 2026-06-01T11:00:00Z")
    [again] = [line for line in lines if "device-telemetry[3]@11" in line and "ARRIVED" not in line and "Duplicates" not in line]
    assert "telemetry, duplicate" in again
    assert "it was counted once" in again
    assert all(line == line.rstrip() for line in lines[:10])

"""What `ems-streams dlt` refuses before it asks anybody, and how bytes are shown."""

import pytest
from typer.testing import CliRunner

from ems_streams.cli.main import app
from ems_streams.dead_letters.views import hex_dump
from ems_streams.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("list --group-by colour", "--group-by 'colour': expected some of error-class"),
        ("list --since yesterday", "--since 'yesterday': expected an ISO-8601 time"),
        ("list --where colour=red", "--where 'colour=red': expected FIELD=VALUE"),
        ("show device-telemetry-dlt 0", "expected topic/partition/offset"),
        ("show device-telemetry-dlt/0", "expected the id of a dead letter"),
        ("redrive", "expected a TOPIC"),
        ("redrive --id a-dlt/0/1 --id b-dlt/0/1", "of several topics, a-dlt, b-dlt"),
        ("redrive a-dlt --id b-dlt/0/1", "is of another topic than a-dlt"),
        ("redrive a-dlt --where ,", "--where ',': expected FIELD=VALUE"),
        ("redrive a-dlt --rate fast", "--rate 'fast': expected letters a second"),
        ("redrive a-dlt --rate 0", "--rate '0': expected letters a second"),
        ("redrive a-dlt --set a..b=1", "expected a path"),
        ("redrive a-dlt --set a", "expected PATH=VALUE"),
        ("redrive a-dlt --key X", "expected exactly one --id"),
        ("redrive --id a-dlt/0/1 --id a-dlt/0/2 --edit x", "expected exactly one --id"),
        ("redrive --resume rd-1234 --dry-run", "expected nothing else with it"),
        ("redrive --resume rd-1234 --max-replays 9", "expected nothing else with it"),
        ("purge a-dlt --before yesterday", "--before 'yesterday': expected an offset or an ISO-8601 time"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(arguments: str, said: str) -> None:
    result = CliRunner().invoke(app, ["dlt", *arguments.split()])
    assert isinstance(result.exception, UsageError), result.output
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_condition_that_a_shell_has_left_empty_does_not_mean_every_letter() -> None:
    result = CliRunner().invoke(app, ["dlt", "redrive", "a-dlt", "--where", ""])
    assert isinstance(result.exception, UsageError), result.output
    assert "--where '': expected FIELD=VALUE" in str(result.exception)


def test_bytes_are_shown_sixteen_a_line_and_no_more_than_asked_for() -> None:
    assert list(hex_dump(b"powerKw=45.2\xff\x00\n!?", 16)) == [
        "00000000  70 6f 77 65 72 4b 77 3d 34 35 2e 32 ff 00 0a 21  |powerKw=45.2...!|",
        "... 1 more bytes",
    ]
    assert list(hex_dump(b"")) == []

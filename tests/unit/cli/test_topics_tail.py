"""`ems-streams topics tail`: what cannot be meant, and how records look."""

import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from ems_streams.cli.topics_tail import _print
from ems_streams.kafka.tail import TailRecord

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--from-beginning", "--since", "5m"), "--from-beginning and --since: expected one of them"),
        (("--json", "--values"), "--json and --values: expected one of them"),
        (("--since", "5 minutes"), "--since '5 minutes': expected how long ago, such as 90m, or an ISO-8601 time"),
        (("--grep", "("), "--grep '(': expected a regular expression"),
        (("--where", "siteId"), "--where 'siteId': expected FIELD=VALUE"),
        (("-n", "0"), "-n"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ems_streams", "topics", "tail", "t", *arguments], capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr


def printed(record: TailRecord, *, colours: bool) -> str:
    target = StringIO()
    _print(
        Console(
            file=target,
            force_terminal=colours,
            no_color=not colours,
            width=400,
            highlight=False,
            color_system="standard" if colours else None,
        ),
        record,
    )
    return target.getvalue()


def test_a_status_has_its_colour_and_a_pipe_has_none() -> None:
    record = TailRecord("t", 1, 5, NOW, "INV-1", {}, {"newStatus": "OFFLINE", "severity": "WARNING", "title": "OFFLINE again"})

    assert (
        printed(record, colours=False)
        == '2026-01-05T10:00:00.000Z 1:5 INV-1 {"newStatus":"OFFLINE","severity":"WARNING","title":"OFFLINE again"}\n'
    )
    coloured = printed(record, colours=True)
    assert "\x1b[1;31mOFFLINE\x1b[0m" in coloured
    assert "\x1b[33mWARNING\x1b[0m" in coloured
    assert coloured.count("\x1b[1;31m") == 1


def test_of_a_dead_letter_the_reason_comes_first_and_bytes_are_shown_as_such() -> None:
    headers: dict[str, str | bytes] = {"dlt-original-topic": "sites/1/x", "dlt-error-class": "invalid_json", "dlt-error-message": "no JSON"}

    line = printed(TailRecord("t-dlt", 0, 7, None, None, headers, b"\xff{"), colours=False)

    assert line == "- 0:7 - invalid_json: no JSON original-topic=sites/1/x b'\\xff{'\n"


def test_nothing_of_a_record_reaches_the_terminal_as_a_command() -> None:
    record = TailRecord("t", 0, 1, NOW, "\x1b[2J", {"h": "\x1b]0;x\x07"}, "\x1b[31m")

    assert "\x1b" not in printed(record, colours=False)

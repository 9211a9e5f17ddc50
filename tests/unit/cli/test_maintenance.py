"""`ems-streams maintenance` with what cannot be a window: one line that names the option or field, and no look at Kafka."""

import subprocess
import sys

import pytest

UNTIL = ("--until", "2099-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--site", "7"), "expected either --until or --for"),
        (("--site", "7", "--for", "1h", *UNTIL), "expected either --until or --for"),
        (("--site", "7", "--for", "1w"), "--for '1w': expected a whole number of s, m, h or d, such as 90m"),
        (("--site", "7", "--for", "-1h"), "--for '-1h'"),
        (("--site", "7", "--for", "0m"), "--for '0m'"),
        (("--site", "7", "--for", "99999999d"), "--for '99999999d'"),
        (("--site", "7", "--for", f"{'9' * 5000}s"), "9s': expected a whole number of s, m, h or d"),
        (("--site", "7", "--until", "tomorrow"), "--until 'tomorrow': expected an ISO-8601 time such as 2026-01-05T00:00:00Z"),
        (("--site", "7", "--from", "soon", *UNTIL), "--from 'soon': expected an ISO-8601 time"),
        (("--site", "7", "--from", "2099-01-02T00:00:00Z", *UNTIL), "expected endsAt after startsAt"),
        (("--for", "1h"), "expected at least one of devices, sites and deviceTypes"),
        (("--device", "a/b", "--for", "1h"), "devices.0='a/b'"),
        (("--site", "-1", "--for", "1h"), "sites.0=-1"),
        (("--type", "9", "--for", "1h"), "deviceTypes.0='9'"),
        (("--site", "7", "--for", "1h", "--id", "a b"), "windowId='a b'"),
        (("--site", "7", "--for", "1h", "--reason", " "), "reason="),
    ],
)
def test_what_cannot_be_a_window_is_refused_in_one_line(arguments: tuple[str, ...], expected: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ems_streams", "maintenance", "set", *arguments], capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1

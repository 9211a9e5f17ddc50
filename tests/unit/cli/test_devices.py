"""`ems-streams devices` with what cannot be meant: one line that names the option or column, and no look at Kafka."""

import subprocess
import sys
from pathlib import Path

import pytest


def devices(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ems_streams", "devices", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("import", "nowhere.csv"), "nowhere.csv: expected a file of devices; there is none"),
        (("import", "{}/devices.txt"), "--format is needed for {}/devices.txt: expected csv, json, jsonl"),
        (("import", "{}/devices.csv", "--format", "xml"), "--format 'xml': expected csv, json, jsonl"),
        (("import", "-"), "--format is needed for -"),
        (("import", "{}/devices.csv", "--map", "serial"), "--map 'serial': expected COLUMN=FIELD"),
        (("import", "{}/devices.csv", "--map", "a=serial"), "--map 'a=serial': expected COLUMN=FIELD"),
        (("import", "{}/devices.csv", "--map", "a=name", "--map", "a=siteId"), "expected each column once"),
        (("import", "{}/devices.csv", "--rejected", "{}/../{}/devices.csv"), "expected another file"),
        (("export", "--format", "xlsx"), "--format 'xlsx'"),
        (("export", "--json", "--format", "csv"), "--json is --format json"),
        (("list", "--site", "-1"), "--site"),
        (("list", "--limit", "0"), "--limit"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    for name in ("devices.csv", "devices.txt"):
        (tmp_path / name).write_text("serialNumber\n")
    filled = [each.replace("{}/../{}", f"{tmp_path}/../{tmp_path.name}").replace("{}", str(tmp_path)) for each in arguments]

    result = devices(*filled)

    assert (result.returncode, result.stdout) == (2, "")
    assert expected.replace("{}", str(tmp_path)) in result.stderr

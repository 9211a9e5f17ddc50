"""`ems-streams devices` as it is run, against the real registry topic; each test has serial numbers and a site of its own."""

import csv
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain.registry import provisional_device_id
from tests.support.processes import Deployment

pytestmark = pytest.mark.integration

HEADER = "serialNumber,siteId,deviceType,name,limits.silenceTimeoutS\n"


@pytest.fixture(scope="module")
def deployment(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics are there; no process runs."""
    deployed = Deployment(stack, Path(tmp_path_factory.mktemp("registry")), "registry-tests")
    deployed.command("topics", "apply")
    yield deployed
    deployed.stop()


@pytest.fixture
def site() -> int:
    return uuid.uuid4().int % 10**9


def run(deployment: Deployment, *arguments: str, code: int = 0) -> Any:
    done = deployment.command("devices", *arguments, "--json", check=False)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_an_import_keeps_good_rows_names_bad_ones_and_writes_only_what_is_new(deployment: Deployment, site: int, tmp_path: Path) -> None:
    file, rejected = tmp_path / "devices.csv", tmp_path / "rejected.csv"
    one, other = f"R-{site}-1", f"R-{site}-2"
    rows = [
        f'{one},{site},METER,"Hall ""A"", east",90\r\n',
        f"{other},{site},,,\r\n",
        f"R {site},{site},,,\r\n",
        f'R-{site}-3,{site},"\r\n',
    ]
    file.write_bytes(b"\xef\xbb\xbf" + (HEADER.replace("\n", "\r\n") + "".join(rows)).encode())

    tried = run(deployment, "import", str(file), "--dry-run", code=1)
    assert run(deployment, "list", "--site", str(site)) == []
    done = run(deployment, "import", str(file), "--rejected", str(rejected), code=1)
    again = run(deployment, "import", str(file), code=1)

    assert tried["new"] == done["new"] == [one, other]
    assert [(bad["line"], bad["problems"][0]["field"], bad["problems"][0]["value"]) for bad in done["bad"]] == [
        (4, "serialNumber", f"'R {site}'"),
        (5, None, None),
    ]
    assert (again["new"], again["changed"], again["unchanged"]) == ([], [], 2)
    shown = run(deployment, "show", one)
    assert (shown["name"], shown["limits"], shown["provisioned"]) == ('Hall "A", east', {"silenceTimeoutS": 90}, False)
    assert run(deployment, "show", other)["deviceId"] == provisional_device_id(other)
    mended = list(csv.DictReader(rejected.read_text().splitlines()))
    assert [row["rejectedLine"] for row in mended] == ["4", "5"]
    assert mended[0]["serialNumber"] == f"R {site}"


def test_a_rejected_row_imports_once_it_is_mended(deployment: Deployment, site: int, tmp_path: Path) -> None:
    file, rejected = tmp_path / "devices.json", tmp_path / "rejected.json"
    file.write_text(json.dumps([{"serialNumber": f"J-{site}", "siteId": str(site), "name": "Müller"}], indent=1))

    run(deployment, "import", str(file), "--rejected", str(rejected), code=1)
    rejected.write_text(rejected.read_text().replace(f'"{site}"', str(site)))
    done = run(deployment, "import", str(rejected))

    assert (done["new"], done["ignoredColumns"]) == ([f"J-{site}"], [])
    assert run(deployment, "show", f"J-{site}")["name"] == "Müller"


@pytest.mark.parametrize("file_format", ["csv", "json", "jsonl"])
def test_what_is_exported_imports_without_any_change(deployment: Deployment, site: int, tmp_path: Path, file_format: str) -> None:
    first, exported = tmp_path / "first.jsonl", tmp_path / f"export.{file_format}"
    devices: list[dict[str, Any]] = [
        {"serialNumber": f"E-{site}-1", "siteId": site, "deviceType": "BATTERY", "name": ' "a,b"\n c ', "limits": {"x": {"max": 1.5}}},
        {"serialNumber": f"E-{site}-2", "siteId": site, "provisioned": True, "deviceId": 2**63 - 1 - site},
        {"serialNumber": f"E-{site}-3", "siteId": site, "name": "Ä\u2028Ö"},
    ]
    first.write_text("".join(json.dumps(each) + "\n" for each in devices))
    run(deployment, "import", str(first))

    before = run(deployment, "list", "--site", str(site))
    deployment.command("devices", "export", "--site", str(site), "--output", str(exported))
    done = run(deployment, "import", str(exported))

    assert (done["new"], done["changed"], done["unchanged"], done["bad"]) == ([], [], 3, [])
    assert run(deployment, "list", "--site", str(site)) == before


def test_devices_that_a_file_does_not_have_go_only_when_that_is_said(deployment: Deployment, site: int, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    kept, gone = f"D-{site}-1", f"D-{site}-2"
    file.write_text(f"serialNumber,siteId\n{kept},{site}\n{gone},{site}\n")
    run(deployment, "import", str(file))
    deployment.command("devices", "export", "--output", str(file))
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith(f"{gone},")))

    refused = deployment.command("devices", "import", str(file), "--delete-missing", check=False)
    tried = run(deployment, "import", str(file), "--delete-missing", "--dry-run")
    there = [each["serialNumber"] for each in run(deployment, "list", "--site", str(site))]
    done = run(deployment, "import", str(file), "--delete-missing", "--yes")

    assert (refused.returncode, "would remove 1 of" in refused.stderr, gone in refused.stderr) == (2, True, True)
    assert there == [kept, gone]
    assert tried["removed"] == done["removed"] == [gone]
    assert [each["serialNumber"] for each in run(deployment, "list", "--site", str(site))] == [kept]


def test_bad_rows_and_empty_files_delete_nothing(deployment: Deployment, site: int, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    file.write_text(f"serialNumber,siteId\nB-{site},{site}\n")
    run(deployment, "import", str(file))
    file.write_text(f"serialNumber,siteId\nB {site},{site}\nC-{site},{site}\n")

    done = run(deployment, "import", str(file), "--delete-missing", "--yes", code=1)
    file.write_text("serialNumber,siteId\n")
    refused = deployment.command("devices", "import", str(file), "--delete-missing", "--yes", check=False)

    assert done["removed"] == []
    assert (refused.returncode, "has no device" in refused.stderr) == (2, True)
    assert len(run(deployment, "list", "--site", str(site))) == 2


def test_a_device_is_removed_and_an_unknown_one_is_an_error_that_names_near_ones(deployment: Deployment, site: int, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text(f"serialNumber,siteId,deviceType\nX-{site}-1,{site},METER\nX-{site}-2,{site},BATTERY\n")
    run(deployment, "import", str(file))

    assert [each["serialNumber"] for each in run(deployment, "list", "--site", str(site), "--type", "METER")] == [f"X-{site}-1"]
    assert [each["siteId"] for each in run(deployment, "list", "--search", f"x-{site}-2")] == [site]
    assert run(deployment, "remove", f"X-{site}-1") == {"removed": [f"X-{site}-1"]}
    failed = deployment.command("devices", "show", f"X-{site}-1", check=False)

    assert failed.returncode == 1
    assert f"'X-{site}-1' is not in the registry; there is X-{site}-2" in failed.stderr

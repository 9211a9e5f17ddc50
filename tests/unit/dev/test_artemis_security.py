"""Grants of the embedded broker, as they stand in its configuration."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ems_streams.dev.artemis_security import FLEET, INGRESS, WORKER, ArtemisSecurity, Device
from ems_streams.dev.secure_devices import parse_devices
from ems_streams.errors import UsageError

SECURITY = ArtemisSecurity(
    Path("keys.p12"),
    Path("trust.p12"),
    "store-secret",
    {"ems-ingress": INGRESS, "ems-worker": WORKER, "ems-simulator": FLEET},
    (Device("INV-001", 1), Device("INV-002")),
    "DEMO-",
    {"somebody": "hunter2-hunter2"},
    {"somebody": INGRESS},
)


def granted() -> dict[str, dict[str, str]]:
    """Roles by permission, by address."""
    tree = ET.fromstring(f"<all>{SECURITY.settings()}</all>")
    return {each.attrib["match"]: {one.attrib["type"]: one.attrib["roles"] for one in each} for each in tree}


def test_nothing_is_granted_that_is_not_said() -> None:
    assert granted()["#"] == {}


def test_a_device_is_bound_to_its_site_when_it_is_known() -> None:
    found = granted()
    assert found["sites/1/devices/INV-001/telemetry"]["send"] == "device-INV-001"
    assert found["sites/+/devices/INV-002/telemetry"]["send"] == "device-INV-002"
    assert found["sites/1/devices/INV-001/commands"]["consume"] == "device-INV-001"
    assert found["sites/1/devices/INV-001/commands"]["send"] == WORKER


def test_devices_are_in_no_grant_of_others() -> None:
    for address, permissions in granted().items():
        for roles in permissions.values():
            named = {role.removeprefix("device-") for role in roles.split(",") if role.startswith("device-")}
            assert all(name in address.split("/") for name in named), address


def test_the_files_name_whom_the_certificates_name(tmp_path: Path) -> None:
    SECURITY.write(tmp_path)
    users = dict(line.split("=", 1) for line in (tmp_path / "certificates.properties").read_text().splitlines())
    assert users["INV-001"] == "CN=INV-001, OU=device, O=EMS Streams dev"
    assert users["ems-worker"] == "CN=ems-worker, OU=process, O=EMS Streams dev"
    roles = dict(line.split("=", 1) for line in (tmp_path / "roles.properties").read_text().splitlines())
    assert roles["ingress"] == "ems-ingress,somebody"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_nothing_secret_is_shown_of_it() -> None:
    assert not {"store-secret", "hunter2"} & set(repr(SECURITY).replace("'", " ").split())
    assert "hunter2" not in repr(SECURITY)


def test_devices_of_the_command_line() -> None:
    assert parse_devices(["1/INV-001", "0/a.b:c", "2/INV-001"]) == (Device("INV-001", 2), Device("a.b:c", 0))


@pytest.mark.parametrize("text", ["INV-001", "/INV-001", "1/", "one/INV-001", "01/INV-001", "1/INV/001", "1/INV+", "1/#"])
def test_what_is_no_device(text: str) -> None:
    with pytest.raises(UsageError, match="expected SITE/SERIAL, such as 1/INV-001"):
        parse_devices([text])

"""Which records a filter lets through."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from ems_streams.domain.record_filter import RecordFilter, condition
from ems_streams.errors import MalformedError


@dataclass
class Seen:
    key: str | bytes | None = "INV-1"
    value: Any = None
    headers: dict[str, str | bytes] = field(default_factory=dict)
    raw: bytes = b""


RECORD = Seen(
    value={"serialNumber": "INV-1", "siteId": 7, "ok": True, "reason": None, "telemetryData": {"powerKw": 5.5}, "status": "ONLINE"},
    headers={"dlt-stage": "ingress"},
    raw=b'{"status":"ONLINE"}',
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("siteId=7", True),
        ("siteId=7.0", True),
        ("siteId=8", False),
        ("siteId!=8", True),
        ("siteId>6", True),
        ("siteId<7", False),
        ("siteId=seven", False),
        ("siteId!=seven", True),
        ("telemetryData.powerKw >= 5.5", True),
        ("telemetryData.powerKw>10", False),
        ("telemetryData.voltage=1", False),
        ("telemetryData.voltage!=1", True),
        ("telemetryData.powerKw.deeper=1", False),
        ("status=ONLINE", True),
        ("status>OFFLINE", True),
        ("ok=true", True),
        ("ok>0", False),
        ("reason=null", True),
        ("headers.dlt-stage=ingress", True),
        ("headers.dlt-stage=worker", False),
        ("headers.absent=", False),
    ],
)
def test_conditions(text: str, wanted: bool) -> None:
    assert condition(text).matches(RECORD) is wanted


@pytest.mark.parametrize("value", [None, b"\xff", "text", 3, [1]])
def test_a_value_that_is_no_object_has_no_fields(value: Any) -> None:
    assert not condition("siteId=7").matches(Seen(value=value))


@pytest.mark.parametrize("text", ["", "siteId", "=7", "7=siteId", "site id=7"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match="expected FIELD=VALUE"):
        condition(text)


def test_a_device_is_known_by_key_or_value_and_all_must_hold() -> None:
    assert RecordFilter(device="INV-1").matches(Seen(key=None, value={"serialNumber": "INV-1"}))
    assert RecordFilter(device="INV-1").matches(Seen(key="INV-1", value=b"\xff"))
    assert not RecordFilter(device="INV-2").matches(RECORD)
    assert RecordFilter().matches(Seen(key=None))
    assert not RecordFilter(key="7").matches(RECORD)
    assert RecordFilter(pattern=re.compile("ON.INE")).matches(RECORD)
    assert RecordFilter(pattern=re.compile("^INV")).matches(RECORD)
    assert not RecordFilter(pattern=re.compile("ERROR")).matches(RECORD)
    assert not RecordFilter(device="INV-1", conditions=[condition("siteId=8")]).matches(RECORD)

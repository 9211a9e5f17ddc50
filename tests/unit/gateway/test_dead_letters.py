"""What a query says about which dead letters are meant; the letters themselves are read from a real Kafka in the integration tests."""

from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request

from ems_streams.gateway.dead_letters import letter_filter_of
from ems_streams.ops.http import ProblemError

PATH = "/api/v1/dlt/device-telemetry-dlt"


@pytest.mark.parametrize("zone", ["Z", "+00:00", quote("+00:00")])
def test_times_may_have_a_plus_sign_quoted_or_not(zone: str) -> None:
    found = letter_filter_of(make_mocked_request("GET", f"{PATH}?since=2026-01-05T12:00:00{zone}&until=2026-01-05T12:00:01{zone}"))
    assert found.since_ms is not None
    assert found.until_ms == found.since_ms + 1000


def test_several_values_of_a_field_are_all_meant() -> None:
    found = letter_filter_of(make_mocked_request("GET", f"{PATH}?errorClass=a&errorClass=b&stage=sink&serial="))
    assert found.where == {"error-class": ("a", "b"), "stage": ("sink",)}


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_time_without_its_zone_is_a_problem_that_names_it(name: str) -> None:
    with pytest.raises(ProblemError, match=f"{name}: '2026-01-05T12:00:00'"):
        letter_filter_of(make_mocked_request("GET", f"{PATH}?{name}=2026-01-05T12:00:00"))

"""Parameters of the workers' web: what is no number is a 400, however it looks."""

import pytest
from aiohttp.test_utils import make_mocked_request

from ems_streams.ops.http import ProblemError
from ems_streams.web.limits import LIMIT_MAX, limit_of, sites_of


@pytest.mark.parametrize("text", ["%C2%B2", "%D9%A3", "0", "-1", "1.0", "", "1002", "9" * 5000, "1%20"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as raised:
        limit_of(make_mocked_request("GET", f"/?limit={text}"), 10)
    assert raised.value.status == 400


def test_a_limit_is_a_number_or_the_default() -> None:
    assert limit_of(make_mocked_request("GET", f"/?limit={LIMIT_MAX}"), 10) == LIMIT_MAX
    assert limit_of(make_mocked_request("GET", "/"), 10) == 10


@pytest.mark.parametrize("text", ["x", "1,", ",", "1, 2", "\u00b2", "-1", "9" * 20])
def test_sites_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ProblemError) as raised:
        sites_of(text)
    assert raised.value.status == 400


def test_no_sites_are_not_all_sites() -> None:
    assert sites_of(None) is None
    assert sites_of("") == frozenset()
    assert sites_of("1,22") == {1, 22}

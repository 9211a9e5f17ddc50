"""The long form of `tests/integration/gateway/test_api.py`: every phase of schemathesis, with many examples; prints how many requests it made."""

import os
from pathlib import Path

import pytest

from tests.support.api_site import ApiSite
from tests.support.deployment import deployment  # noqa: F401 - a fixture
from tests.support.processes import Deployment
from tests.support.schemathesis_run import run_schemathesis

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

EXAMPLES = int(os.environ.get("EMS_API_EXAMPLES", "40"))


@pytest.fixture
def site(deployment: Deployment) -> ApiSite:  # noqa: F811 - the fixture
    given = ApiSite(deployment)
    given.gateway.wait_until_ready()
    given.fill()
    return given


@pytest.mark.parametrize("seed", [1, 2])
def test_every_phase_of_schemathesis_finds_nothing(site: ApiSite, tmp_path: Path, seed: int) -> None:
    found = run_schemathesis(
        site.url, tmp_path, device=site.device, phases="examples,coverage,fuzzing", examples=EXAMPLES, seed=seed, timeout_s=1700
    )
    print(f"seed {seed}: {found.cases} requests")
    assert found.ok, found.text
    assert found.cases > 1000, found.text

"""`/metrics` of a process: its own metrics, its health, and nothing of other processes."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from ems_streams.metrics import DEFINITIONS, Process, gateway
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.http import bound_port, start_site
from ems_streams.ops.monitoring import add_monitoring


@pytest.fixture
async def url() -> AsyncIterator[str]:
    health, app = Health(), web.Application()
    health.add_readiness("kafka", lambda: CheckResult(False, "away"))
    health.add_readiness("extra", lambda: CheckResult(False, "away"), required=False)
    health.mark_started()
    add_monitoring(app, Process.GATEWAY, health, lambda: gateway.CLIENTS.set(7))
    runner = await start_site(app, "127.0.0.1", 0, "EMS_TEST_PORT")
    yield f"http://127.0.0.1:{bound_port(runner)}"
    await runner.cleanup()


async def scrape(url: str) -> tuple[str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        assert response.status == 200
        return response.headers["Content-Type"], await response.text()


async def test_a_process_exports_its_own_metrics_and_no_others(url: str) -> None:
    content_type, text = await scrape(url)
    assert content_type.startswith("text/plain; version=0.0.4")
    exported = {family.name: family for family in text_string_to_metric_families(text)}
    wanted = {each.name.removesuffix("_total"): each for each in DEFINITIONS if Process.GATEWAY in each.processes}
    assert exported.keys() == wanted.keys()
    assert {name: family.type for name, family in exported.items()} == {name: str(each.kind) for name, each in wanted.items()}
    assert "_created" not in text


async def test_the_moment_and_health_are_told(url: str) -> None:
    _, text = await scrape(url)
    lines = text.splitlines()
    assert "ems_websocket_clients 7.0" in lines
    assert 'ems_endpoint_ok{endpoint="livez"} 1.0' in lines
    assert 'ems_endpoint_ok{endpoint="readyz"} 0.0' in lines
    assert 'ems_health_check_ok{check="kafka",endpoint="readyz"} 0.0' in lines
    assert 'ems_health_check_ok{check="loop",endpoint="livez"} 1.0' in lines

"""The gateway is as its OpenAPI document says, with real Kafka and a worker behind it: every route asked for, and what schemathesis thinks of.

The long form, with every phase of schemathesis, is `tests/chaos/test_api_conformance.py`.
"""

import gzip
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ems_streams.dev.stack import EmbeddedStack
from tests.support.api_site import SITE_ID, ApiSite
from tests.support.deployment import forget_records
from tests.support.openapi import Described
from tests.support.processes import Deployment
from tests.support.schemathesis_run import run_schemathesis

pytestmark = pytest.mark.integration

Request = tuple[str, str, object, int]
"""Method, address, body, and the status that it is to be answered with."""


@pytest.fixture(scope="module")
def site(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    deployed = Deployment(stack, tmp_path_factory.mktemp("api"), f"api-{uuid.uuid4().hex[:8]}")
    try:
        deployed.command("topics", "apply")
        forget_records(stack.kafka_bootstrap, deployed.partitions)
        given = ApiSite(deployed)
        given.gateway.wait_until_ready()
        given.fill()
        yield given
    finally:
        deployed.stop()


def of_devices_and_sites(site: ApiSite) -> list[Request]:
    """Devices, their windows and histories, and sites."""
    device, far = f"/api/v1/devices/{site.device}", "/api/v1/devices/NOBODY-1"
    return [
        ("GET", "/api/v1/devices?limit=1", None, 200),
        ("GET", f"/api/v1/devices?site={SITE_ID}&status=MAINTENANCE", None, 200),
        ("GET", device, None, 200),
        ("GET", far, None, 404),
        ("GET", f"{device}/aggregates?window=1m&limit=2", None, 200),
        ("GET", f"{device}/aggregates?window=2m", None, 400),
        ("GET", f"{device}/status-events?limit=2", None, 200),
        ("GET", f"{device}/explain", None, 200),
        ("GET", f"{far}/aggregates", None, 404),
        ("GET", f"{device}/status-events?from=yesterday", None, 400),
        ("GET", "/api/v1/sites", None, 200),
        ("GET", f"/api/v1/sites/{SITE_ID}", None, 200),
        ("GET", "/api/v1/sites/424242", None, 404),
        ("GET", f"/api/v1/sites/{SITE_ID}/aggregates?window=1m", None, 200),
    ]  # fmt: skip


def of_alarms_and_maintenance(site: ApiSite) -> list[Request]:
    """Alarms and maintenance windows."""
    return [
        ("GET", "/api/v1/alarms?state=RAISED,ACKNOWLEDGED&limit=1", None, 200),
        ("GET", f"/api/v1/alarms/{site.alarm_id}", None, 200),
        ("GET", f"/api/v1/alarms/{'0' * 32}", None, 404),
        ("POST", f"/api/v1/alarms/{site.alarm_id}/ack", {"by": "Ann", "comment": "On my way"}, 200),
        ("POST", f"/api/v1/alarms/{site.alarm_id}/ack", {"who": "Ann"}, 400),
        ("GET", "/api/v1/maintenance-windows?all=true", None, 200),
        ("POST", "/api/v1/maintenance-windows", {"sites": [9], "endsAt": "2099-01-31T18:00:00Z", "windowId": "mw-of-this-test"}, 201),
        ("DELETE", "/api/v1/maintenance-windows/mw-of-this-test", None, 200),
        ("DELETE", "/api/v1/maintenance-windows/mw-of-this-test", None, 404),
    ]  # fmt: skip


def of_dead_letters(site: ApiSite) -> list[Request]:
    """Dead letters and redrives."""
    letters = "/api/v1/dlt/device-telemetry-dlt"
    return [
        ("GET", "/api/v1/dlt", None, 200),
        ("GET", f"{letters}?limit=1&errorClass=invalid_json&errorClass=empty", None, 200),
        ("GET", f"/api/v1/dlt/{site.letter}", None, 200),
        ("GET", f"{letters}/0/99999999", None, 404),
        ("GET", "/api/v1/dlt/nothing-dlt", None, 404),
        ("POST", f"{letters}/redrive", {"filter": {"stage": "ingress"}, "dryRun": True}, 200),
        ("POST", f"{letters}/redrive", {"filter": {"stage": "nothing has this stage"}}, 202),
        ("POST", "/api/v1/redrives/rd-00000000/resume", {}, 404),
        ("GET", "/api/v1/redrives", None, 200),
        ("GET", "/api/v1/redrives/rd-00000000", None, 404),
    ]  # fmt: skip


def of_commands(site: ApiSite) -> list[Request]:
    """Commands and their catalogue."""
    device = f"/api/v1/devices/{site.device}"
    return [
        ("POST", f"{device}/commands", {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 5}}, 202),
        ("POST", f"{device}/commands", {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 5000}}, 422),
        ("POST", f"{device}/commands", {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": 6}, "idempotencyKey": "one"}, 409),
        ("GET", f"{device}/commands?limit=2", None, 200),
        ("GET", f"/api/v1/commands/{site.command_id}", None, 200),
        ("GET", "/api/v1/commands/NOBODY-1~0123456789abcdef", None, 404),
        ("POST", "/api/v1/commands/NOBODY-1~0123456789abcdef/cancel", {}, 404),
        ("GET", "/api/v1/command-catalogue", None, 200),
    ]  # fmt: skip


OF_THE_REST: tuple[Request, ...] = (
    ("GET", "/api/v1/notifications?limit=1", None, 200),
    ("GET", "/ws/notifications", None, 426),
    ("GET", "/api/v1/pipeline", None, 200),
    ("GET", "/api/v1/session", None, 200),
    ("POST", "/api/v1/session", {"token": "none is needed here"}, 200),
    ("POST", "/api/v1/session", {}, 400),
    ("DELETE", "/api/v1/session", None, 204),
    ("GET", "/livez", None, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/startupz", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/asyncapi.json", None, 200),
)  # fmt: skip


def requests_of(site: ApiSite) -> list[Request]:
    """Every operation."""
    return [*of_devices_and_sites(site), *of_alarms_and_maintenance(site), *of_dead_letters(site), *of_commands(site), *OF_THE_REST]


def test_every_route_answers_as_the_document_says(site: ApiSite) -> None:
    described = Described(site.ask("GET", "/openapi.json").json)
    mistakes: list[str] = []
    asked = set()
    for method, path, body, status in requests_of(site):
        answer = site.ask(method, path, body)
        plain = path.partition("?")[0]
        asked.add((method, answer.status, plain))
        if answer.status != status:
            mistakes.append(f"{method} {path}: {answer.status} instead of {status}: {answer.body[:300]!r}")
        mistakes += described.problems(method, plain, answer.status, answer.headers.get("Content-Type", ""), answer.body)
        assert answer.headers["X-Request-Id"]
    assert mistakes == []
    operations = {(method.upper(), path) for path, methods in described.document["paths"].items() for method in methods}
    reached = {(method, template) for method, _, plain in asked for pattern, template in described._paths if pattern.fullmatch(plain)}
    assert operations <= reached, "each operation is asked for"


def test_pages_tags_ids_and_methods_work_on_the_real_thing(site: ApiSite) -> None:
    device = f"/api/v1/devices/{site.device}"
    first = site.ask("GET", device, X_Request_Id="test-1")
    assert first.headers["X-Request-Id"] == "test-1"
    known = site.ask("GET", device, If_None_Match=first.headers["ETag"])
    assert (known.status, known.body) == (304, b"")
    listed = site.ask("GET", "/api/v1/sites")
    assert site.ask("GET", "/api/v1/sites", If_None_Match=listed.headers["ETag"]).status in {200, 304}
    packed = site.ask("GET", "/openapi.json", Accept_Encoding="gzip")
    assert len(packed.body) * 4 < len(gzip.decompress(packed.body))
    problem = site.ask("GET", "/api/v1/devices/NOBODY-1", X_Request_Id="test-2")
    assert problem.json["requestId"] == "test-2", "also of what a worker answers"
    wrong = site.ask("PUT", "/api/v1/devices")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD")
    assert site.ask("GET", "/api/v1/nothing").json["requestId"]
    head = site.ask("HEAD", device)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", first.headers["ETag"])
    log = (site.deployment.directory / "gateway.log").read_text()
    assert "Traceback" not in log


def test_schemathesis_finds_nothing(site: ApiSite, tmp_path: Path) -> None:
    found = run_schemathesis(site.url, tmp_path, device=site.device, phases="examples,fuzzing", examples=2)
    assert found.ok, found.text
    assert found.cases > 60, found.text

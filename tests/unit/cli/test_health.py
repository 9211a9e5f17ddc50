"""`ems-streams health` against a process that listens: exit codes and what is said, over HTTP and HTTPS."""

import asyncio
import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from ems_streams.cli.gateway_client import gateway_url
from ems_streams.cli.health import ProcessName, process_url
from ems_streams.ops.health import CheckResult, Health
from ems_streams.ops.http import bound_port, health_routes, start_site
from ems_streams.settings import Settings


async def ask(*arguments: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ems_streams", "health", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(asking.communicate(), 60)
    return asking.returncode or 0, out.decode(), errors.decode()


@pytest.fixture
async def worker() -> AsyncIterator[tuple[Health, Mapping[str, str]]]:
    health, app = Health(), web.Application()
    health.add_readiness("kafka", lambda: CheckResult(False, "no answer from kafka:9092"))
    app.add_routes(health_routes(health))
    site = await start_site(app, "127.0.0.1", 0, "EMS_WORKER_PORT")
    yield health, {"EMS_WORKER_PORT": str(bound_port(site)), "EMS_BIND_HOST": "0.0.0.0"}
    await site.cleanup()


async def test_a_process_that_is_well_ends_with_0_and_says_nothing(worker: tuple[Health, Mapping[str, str]]) -> None:
    health, environment = worker
    health.mark_started()

    assert await ask("worker", "--endpoint", "startupz", environment=environment) == (0, "", "")
    assert await ask("worker", "--endpoint", "livez", environment=environment) == (0, "", "")


async def test_a_check_that_fails_is_said_and_ends_with_1(worker: tuple[Health, Mapping[str, str]]) -> None:
    health, environment = worker
    health.mark_started()

    assert await ask("worker", environment=environment) == (1, "kafka: no answer from kafka:9092 (for 0 s)\n", "")
    code, out, _ = await ask("worker", "--json", environment=environment)
    assert (code, json.loads(out)["checks"]["kafka"]["ok"]) == (1, False)


async def test_what_need_not_be_well_is_not_said_and_details_may_be_missing(unused_tcp_port: int) -> None:
    checks = {"workers": {"ok": False}, "postgres": {"ok": False, "required": False, "detail": "away", "forS": 1.0}}

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"status": "failing", "checks": checks}, status=503)

    app = web.Application()
    app.add_routes([web.get("/readyz", ready)])
    site = await start_site(app, "127.0.0.1", unused_tcp_port, "EMS_GATEWAY_PORT")
    answered = await ask("gateway", environment={"EMS_GATEWAY_PORT": str(unused_tcp_port)})
    await site.cleanup()

    assert answered == (1, "workers fails\n", "")


async def test_nobody_there_ends_with_3(unused_tcp_port: int) -> None:
    code, out, errors = await ask("sink", environment={"EMS_SINK_PORT": str(unused_tcp_port)})

    assert (code, out) == (3, "")
    assert errors.startswith(f"ems-streams: sink does not answer at http://127.0.0.1:{unused_tcp_port}/readyz: ")


@pytest.mark.parametrize(("listens_at", "asked"), [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")])
async def test_whoever_listens_anywhere_is_asked_on_this_machine(listens_at: str, asked: str) -> None:
    settings = Settings(bind_host=listens_at, gateway_host=listens_at, worker_port=6066, gateway_port=8080)

    assert process_url(settings, ProcessName.WORKER) == f"http://{asked}:6066"
    assert process_url(settings, ProcessName.GATEWAY) == gateway_url(settings) == f"http://{asked}:8080"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_a_process_on_ipv6_answers() -> None:
    health, app = Health(), web.Application()
    health.mark_started()
    app.add_routes(health_routes(health))
    site = await start_site(app, "::1", 0, "EMS_SINK_PORT")
    answered = await ask("sink", environment={"EMS_SINK_PORT": str(bound_port(site)), "EMS_BIND_HOST": "::1"})
    await site.cleanup()

    assert answered == (0, "", "")


@pytest.mark.parametrize(("content", "said"), [(None, "must be a readable file"), ("no certificate", "in PEM")])
async def test_a_certificate_that_is_none_is_said_by_its_setting(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_text(content)
    code, _, errors = await ask("gateway", environment={"EMS_GATEWAY_CERT_FILE": str(file), "EMS_GATEWAY_KEY_FILE": str(file)})

    assert code == 2
    assert errors.startswith(f"ems-streams: EMS_GATEWAY_CERT_FILE='{file}': ")
    assert said in errors


async def test_somebody_else_on_the_port_is_not_well() -> None:
    async def other(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.get("/readyz", other)])
    site = await start_site(app, "127.0.0.1", 0, "EMS_INGRESS_PORT")
    code, _, errors = await ask("ingress", environment={"EMS_INGRESS_PORT": str(bound_port(site))})
    await site.cleanup()

    assert code == 1
    assert "is it the ingress?" in errors


async def test_a_process_that_does_not_exist_is_wrong_usage() -> None:
    code, _, errors = await ask("broker", environment={})

    assert code == 2
    assert "'broker' is not one of" in errors


async def test_a_gateway_with_https_must_show_its_own_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = {}
    for name in ("own", "other"):
        certificate = authority.issue_cert("gateway.example")
        files[name] = tmp_path / f"{name}.pem"
        certificate.cert_chain_pems[0].write_to_path(str(files[name]))
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    health, app = Health(), web.Application()
    health.mark_started()
    app.add_routes(health_routes(health))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["own"], tmp_path / "own.key")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = str(bound_port(runner))

    right = await ask(
        "gateway",
        environment={
            "EMS_GATEWAY_PORT": port,
            "EMS_GATEWAY_CERT_FILE": str(files["own"]),
            "EMS_GATEWAY_KEY_FILE": str(tmp_path / "own.key"),
        },
    )
    wrong = await ask(
        "gateway",
        environment={
            "EMS_GATEWAY_PORT": port,
            "EMS_GATEWAY_CERT_FILE": str(files["other"]),
            "EMS_GATEWAY_KEY_FILE": str(tmp_path / "other.key"),
        },
    )
    await runner.cleanup()

    assert right == (0, "", "")
    assert wrong[0] == 3
    assert "certificate" in wrong[2].lower()

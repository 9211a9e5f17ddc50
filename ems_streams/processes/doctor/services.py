"""Checks of our own processes over HTTP: workers by the addresses that are set and those that they tell, the others where they are set to listen."""

import asyncio
import ssl
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from ems_streams import __version__
from ems_streams.access.internal import internal_headers
from ems_streams.errors import SettingError
from ems_streams.gateway.topology import parse_topology
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.service_findings import Service, health_findings, worker_findings
from ems_streams.ops.http import VERSION_HEADER
from ems_streams.pem_files import trusting
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.groups import members_of
from ems_streams.setting_types import reached_at
from ems_streams.settings import Settings

ANSWER_TIMEOUT_S = 3.0


async def check_workers_http(context: Context) -> Report:
    """Every worker that is set or told of."""
    seeds = [url.strip().rstrip("/") for url in context.settings.worker_urls.split(",") if url.strip()]
    members, services = await asyncio.gather(
        asyncio.to_thread(members_of, context.settings, context.settings.application_id), _all_workers(context, seeds)
    )
    findings = list(worker_findings(services, seeds, len(members)))
    for each in services:
        if each.answered:
            findings += health_findings(each, __version__)
    return Report(findings, {"answering": sum(each.answered for each in services), "known": len(services)})


async def check_processes(context: Context) -> Report:
    """Gateway, ingress, sink and notifier, where these settings say that they listen; one that is elsewhere is not seen from here."""
    services = await asyncio.gather(*(ask(context, role, url) for role, url in _addresses(context.settings).items()))
    findings: list[Finding] = []
    for each in services:
        if each.answered:
            findings += health_findings(each, __version__)
        elif each.role == "gateway":
            findings.append(
                finding("gateway-unreachable", f"the gateway at {each.url} does not answer", found=each.error, expected="an answer")
            )
    return Report(findings, {each.role: "answers" if each.answered else "not seen from here" for each in services})


async def ask(context: Context, role: str, url: str) -> Service:
    """A process as it answers; never raises because it does not."""
    try:
        asked_s = context.now_s()
        live, headers = await _get(context, role, f"{url}/livez")
        half_s = (context.now_s() - asked_s) / 2
        ready, _ = await _get(context, role, f"{url}/readyz")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, SettingError) as error:
        return Service(role, url, answered=False, error=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return Service(role, url, True, "", headers.get(VERSION_HEADER), _ahead_s(headers.get("Date"), asked_s + half_s), live, ready)


async def _get(context: Context, role: str, url: str) -> tuple[dict[str, Any], Any]:
    settings = context.settings
    headers: dict[str, str] = {}
    tls: ssl.SSLContext | bool = True
    if role == "gateway":
        # Without a token it says which checks pass, and neither why nor its release.
        headers = {} if settings.gateway_token is None else {"Authorization": f"Bearer {settings.gateway_token.get_secret_value()}"}
        if url.startswith("https:"):
            tls = trusting("EMS_GATEWAY_CA_FILE", settings.gateway_ca_file)
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with context.http.get(url, headers=headers, ssl=tls, timeout=timeout, allow_redirects=False) as response:
        body = await response.json(content_type=None)
        if not isinstance(body, dict) or "checks" not in body:
            raise ValueError(f"answers {response.status}, but not as a process of ours does")
        return body, response.headers


async def _all_workers(context: Context, seeds: list[str]) -> list[Service]:
    urls = dict.fromkeys(seeds)
    for told in await asyncio.gather(*(_told(context, url) for url in seeds)):
        urls.update(dict.fromkeys(told))
    return list(await asyncio.gather(*(ask(context, "worker", url) for url in urls)))


async def _told(context: Context, url: str) -> list[str]:
    """Addresses of the workers of the group, as one of them knows them."""
    headers, timeout = internal_headers(context.settings), aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    try:
        asking = context.http.get(f"{url}/internal/v1/topology", headers=headers, timeout=timeout, allow_redirects=False)
        async with asking as response:
            return sorted(parse_topology(await response.read()).owners) if response.status == 200 else []
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return []


def _addresses(settings: Settings) -> dict[str, str]:
    inside, gateway = reached_at(settings.bind_host), reached_at(settings.gateway_host)
    found = {
        "gateway": f"{'http' if settings.gateway_cert_file is None else 'https'}://{gateway}:{settings.gateway_port}",
        "ingress": f"http://{inside}:{settings.ingress_port}",
        "sink": f"http://{inside}:{settings.sink_port}",
    }
    if settings.gateway_url is not None:
        found["gateway"] = str(settings.gateway_url).rstrip("/")
    return found if settings.channels_file is None else {**found, "notifier": f"http://{inside}:{settings.notifier_port}"}


def _ahead_s(date: str | None, now_s: float) -> float | None:
    """How far a clock that says this date, in whole seconds, is ahead."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - now_s
    except ValueError:
        return None

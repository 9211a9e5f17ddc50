"""`ems-streams health`: asks one process of this machine how it is; what containers and units are watched by."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, print_json
from ems_streams.errors import DependencyError, EmsError

if TYPE_CHECKING:
    from ems_streams.settings import Settings


class ProcessName(StrEnum):
    """A process with health endpoints."""

    INGRESS = "ingress"
    WORKER = "worker"
    SINK = "sink"
    NOTIFIER = "notifier"
    GATEWAY = "gateway"


class Endpoint(StrEnum):
    """What is asked."""

    LIVEZ = "livez"
    READYZ = "readyz"
    STARTUPZ = "startupz"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(health)


def health(
    process: Annotated[ProcessName, typer.Argument(metavar="PROCESS", help="ingress, worker, sink, notifier or gateway.")],
    endpoint: Annotated[
        Endpoint,
        typer.Option("--endpoint", metavar="NAME", help="readyz: can it work; livez: would a restart help; startupz: has it started."),
    ] = Endpoint.READYZ,
    timeout_s: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait for the answer.")] = 3.0,
    json: JsonOption = False,
) -> None:
    """Ask the process of this machine that these settings are of; prints each check that fails.

    Exit 0 when it is well, 1 when a check fails, 3 when nobody answers.
    """
    from ems_streams.settings import Settings

    settings = Settings.load()
    status, body = asyncio.run(_ask(settings, process, endpoint, timeout_s))
    if json:
        print_json(body)
    else:
        for line in _failing(body):
            console().print(line, markup=False, soft_wrap=True)
    if status != 200:
        raise typer.Exit(1)


def process_url(settings: "Settings", process: ProcessName) -> str:
    """Where a process with these settings is asked from its own machine."""
    from ems_streams.setting_types import reached_at

    if process is ProcessName.GATEWAY:
        scheme = "https" if settings.gateway_cert_file is not None else "http"
        return f"{scheme}://{reached_at(settings.gateway_host)}:{settings.gateway_port}"
    return f"http://{reached_at(settings.bind_host)}:{getattr(settings, f'{process}_port')}"


async def _ask(settings: "Settings", process: ProcessName, endpoint: Endpoint, timeout_s: float) -> tuple[int, Mapping[str, Any]]:
    import aiohttp

    url = f"{process_url(settings, process)}/{endpoint}"
    trusted = (
        True if settings.gateway_cert_file is None or process is not ProcessName.GATEWAY else _only_its_own(settings.gateway_cert_file)
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            session.get(url, ssl=trusted) as response,
        ):
            body = await response.json()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        why = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        raise DependencyError(f"{process} does not answer at {url}: {str(why) or type(why).__name__}") from None
    if not isinstance(body, dict) or not isinstance(body.get("checks"), dict):
        raise EmsError(f"{url} answers {response.status} without checks: is it the {process}?")
    return response.status, body


def _only_its_own(cert_file: Path) -> ssl.SSLContext:
    """The gateway is asked by an address that its certificate need not name; so it must show exactly the certificate that is set."""
    from ems_streams.pem_files import trusting

    context = trusting("EMS_GATEWAY_CERT_FILE", cert_file)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _failing(body: Mapping[str, Any]) -> Iterator[str]:
    """A line for each check that fails; a gateway that asks for tokens says no details."""
    for name, check in body["checks"].items():
        if not check["ok"] and check.get("required", True):
            yield f"{name}: {check['detail']} (for {check['forS']:.0f} s)" if "detail" in check else f"{name} fails"

"""`ems-streams explain`: why a device is in its state."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ems_streams.cli.output import JsonOption, print_json
from ems_streams.cli.running import run_with_settings
from ems_streams.cli.times import past_of
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.domain.explanation import Explanation
    from ems_streams.settings import Settings

LIMIT_MAX: Final = 1000
RECORDS_MAX: Final = 500_000
BYTES_MAX: Final = 128 * 1024 * 1024
_UNREACHABLE: Final = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="Serial number of the device.")],
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Records from so long ago on, such as 1h, or from an ISO-8601 time.")
    ] = "1h",
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=LIMIT_MAX, help="So many records of each topic at the most.")
    ] = 10,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, max=600, help="Longest time to look through Kafka.")
    ] = 20.0,
    json: JsonOption = False,
) -> None:
    """Say why a device is in its state: its last records with their offsets, rules, what was dropped, and what changes it next. Changes nothing.

    Asks the worker that has the device and reads Kafka; what does not answer is named, and the rest is told all the same.
    Exit 1 when nothing is known of the device, 3 when a part did not answer.
    """
    from pydantic import TypeAdapter, ValidationError

    from ems_streams.domain.events import SerialNumber

    try:
        TypeAdapter(SerialNumber).validate_python(serial)
    except ValidationError:
        raise UsageError(
            f"{serial!r}: expected a serial number, such as INV-001: a letter or digit, then at most 63 of those and _ . : -"
        ) from None
    now = datetime.now(UTC)
    begin = past_of("--since", since, now)
    found = run_with_settings("explain", lambda settings: _explain(settings, serial, (now, begin), limit, timeout_s))
    if json:
        print_json(found.model_dump(mode="json", by_alias=True))
    else:
        from ems_streams.cli.explain_output import print_explanation

        print_explanation(found)
    if any(each.part in {"worker", "kafka", "registry"} for each in found.missing):
        raise typer.Exit(_UNREACHABLE)
    if not found.known:
        raise typer.Exit(1)


async def _explain(settings: "Settings", serial: str, times: tuple[datetime, datetime], limit: int, timeout_s: float) -> "Explanation":
    import aiohttp

    from ems_streams.access.internal import internal_headers
    from ems_streams.gateway.explainer import Cost, Explainer
    from ems_streams.gateway.forwarding import Forwarder
    from ems_streams.gateway.topology import Topology
    from ems_streams.kafka.device_registry import read_entry

    async with aiohttp.ClientSession(headers=internal_headers(settings)) as session:
        topology = Topology(session, settings.worker_urls.split(","))
        await topology.refresh()
        workers = Forwarder(session, topology, settings.query_timeout_s)
        cost = Cost(RECORDS_MAX, BYTES_MAX, timeout_s)
        explainer = Explainer(settings, workers, topology, lambda of: read_entry(settings, of), cost)
        return await explainer.explain(serial, *times, limit)

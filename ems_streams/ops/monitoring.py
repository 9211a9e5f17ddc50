"""What a process shows of itself over HTTP: health, and metrics in Prometheus' text format."""

import platform
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, exposition

from ems_streams.metrics import DEFINITIONS, Process, everywhere
from ems_streams.ops.health import Health
from ems_streams.ops.http import health_routes
from ems_streams.ops.vitals import Vitals

Sample = Callable[[], None]
"""Sets what is not counted as it happens, such as how much waits right now; from memory, and fast."""


def add_monitoring(app: web.Application, process: Process, health: Health, sample: Sample = lambda: None) -> None:
    """Add `/livez`, `/readyz`, `/startupz` and `/metrics`, and keep their figures up to date for as long as the application is served.

    Args:
        process: Whose metrics are exported; those of other processes are not, since their zeros would say something that is not so.
        sample: Called before each scrape.
    """
    metrics = Metrics(process, health, sample)
    vitals = Vitals(health)

    async def ticking(_: web.Application) -> AsyncIterator[None]:
        vitals.start()
        yield
        await vitals.stop()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.render(), headers={"Content-Type": exposition.CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"}
        )

    app.add_routes([*health_routes(health), web.get("/metrics", handle)])
    app.cleanup_ctx.append(ticking)


class Metrics:
    """The metrics of one kind of process, as Prometheus reads them."""

    def __init__(self, process: Process, health: Health, sample: Sample) -> None:
        self._health = health
        self._sample = sample
        self._registry = CollectorRegistry(auto_describe=False)
        # When a series began is in none of our queries, and doubles the number of series.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotation
        # Several definitions may be of one collector.
        for instrument in dict.fromkeys(each.instrument for each in DEFINITIONS if process in each.processes):
            self._registry.register(instrument)
        everywhere.BUILD_INFO.labels(version("ems-streams"), platform.python_version()).set(1)

    def render(self) -> bytes:
        """All series, as of now; raises whatever the sampling raises."""
        self._sample()
        for endpoint, (status, _) in self._reports().items():
            everywhere.ENDPOINT_OK.labels(endpoint).set(status == 200)
        for finding in self._health.findings():
            everywhere.CHECK_OK.labels(finding.endpoint, finding.name).set(finding.ok)
            everywhere.CHECK_SECONDS.labels(finding.endpoint, finding.name).set(round(finding.for_s, 3))
        return exposition.generate_latest(self._registry)

    def _reports(self) -> dict[str, tuple[int, dict[str, object]]]:
        health = self._health
        return {"livez": health.livez(), "readyz": health.readyz(), "startupz": health.startupz()}

"""Windows of sites for people: what this worker knows of a site, and who owns what it does not know."""

from typing import Any

from ems_streams.domain.aggregate_events import site_key
from ems_streams.domain.site_contents import current_windows
from ems_streams.domain.site_events import site_view
from ems_streams.domain.site_records import SiteRecord
from ems_streams.domain.windows import Window
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.web.owners import owner_of


class LiveSites:
    """Read-only views over the windows of the sites in this worker's partitions, as folded so far (durable or not)."""

    def __init__(self, app: WorkerApp, windows: StateTable[SiteRecord]) -> None:
        self._app = app
        self._windows = windows

    def aggregates(self, site_id: int, window: Window, limit: int, start_ms: int, end_ms: int) -> dict[str, Any] | None:
        """The newest windows of a kind that begin between two times, or None; raises `PartitionNotReadyError`."""
        partition = self._windows.ready(site_key(site_id))
        windows = current_windows(site_id, partition, window, limit=limit, start_ms=start_ms, end_ms=end_ms)
        return None if windows is None else site_view(site_id, windows)

    def owner(self, site_id: int) -> str | None:
        """Base URL of the worker that owns the site's partition; None when nobody does."""
        return owner_of(self._app, self._windows, site_key(site_id))

"""The tables as data: columns, keys, and how time divides them. The DDL is in `migrations/`; a test holds the two together."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final


class Span(Enum):
    """How much time one partition of a table holds; partitions begin at midnight UTC."""

    DAY = "day"
    MONTH = "month"

    def start_of(self, moment: datetime) -> datetime:
        """Where the partition begins that holds this moment."""
        midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if self is Span.DAY else midnight.replace(day=1)

    def next_start(self, start: datetime) -> datetime:
        """Where the partition after the one that begins at `start` begins."""
        return start + timedelta(days=1) if self is Span.DAY else (start + timedelta(days=31)).replace(day=1)

    @property
    def suffix(self) -> str:
        """What a partition is named by, as a format of its start: `p20261125` or `p202611`."""
        return "p%Y%m%d" if self is Span.DAY else "p%Y%m"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that the sink fills.

    Attributes:
        time_column: By which it is partitioned.
        key: Columns of the primary key.
        columns: What the sink writes, in the order of a row.
        span: Of one partition.
        ahead: How many partitions after the present one are made before they are needed.
        revised: Whether a row of a greater `revision` replaces the one that is there; otherwise the first one stays.
        retention_setting: Name of the setting that says after how many days rows are removed.
    """

    name: str
    time_column: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    span: Span
    ahead: int
    revised: bool
    retention_setting: str

    @property
    def staging(self) -> str:
        """Name of the temporary table that a batch is copied into."""
        return f"staging_{self.name}"

    def partition_name(self, start: datetime) -> str:
        """Name of the partition that begins at `start`."""
        return f"{self.name}_{start:{self.span.suffix}}"

    def start_of_partition(self, name: str) -> datetime | None:
        """Inverse of `partition_name`; None for a name that we do not give."""
        try:
            return datetime.strptime(name, f"{self.name}_{self.span.suffix}").replace(tzinfo=UTC)
        except ValueError:
            return None

    def staging_sql(self) -> str:
        """Makes the staging table; it is empty at the beginning of every transaction."""
        columns = ", ".join(self.columns)
        return f"CREATE TEMP TABLE {self.staging} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {self.name} WITH NO DATA"  # noqa: S608 - constants

    def upsert_sql(self) -> str:
        """Moves the staged rows, of which no two may have one key, into the table."""
        columns = ", ".join(self.columns)
        head = f"INSERT INTO {self.name} ({columns}) SELECT {columns} FROM {self.staging} ON CONFLICT ({', '.join(self.key)}) DO"  # noqa: S608 - constants
        if not self.revised:
            return f"{head} NOTHING"
        changed = ", ".join(f"{column} = excluded.{column}" for column in self.columns if column not in self.key)
        return f"{head} UPDATE SET {changed}, written_at = DEFAULT WHERE excluded.revision > {self.name}.revision"


_SOURCE: Final = ("source_partition", "source_offset")
_WINDOW: Final = ("window_end", "revision", "event_count", "metrics", "energy_kwh", "energy_quality", "energy_covered_share", "event_id")

DEVICE_AGGREGATES: Final = Table(
    name="device_aggregates",
    time_column="window_start",
    key=("serial_number", "window_size", "window_start", "time_zone"),
    columns=("serial_number", "window_size", "window_start", "time_zone", "device_id", "site_id", "device_type", *_WINDOW, *_SOURCE),
    span=Span.DAY,
    ahead=3,
    revised=True,
    retention_setting="retention_device_aggregates_days",
)
SITE_AGGREGATES: Final = Table(
    name="site_aggregates",
    time_column="window_start",
    key=("site_id", "window_size", "window_start", "time_zone"),
    columns=("site_id", "window_size", "window_start", "time_zone", "devices_reported", "devices_total", *_WINDOW, *_SOURCE),
    span=Span.MONTH,
    ahead=1,
    revised=True,
    retention_setting="retention_site_aggregates_days",
)
DEVICE_STATUS_EVENTS: Final = Table(
    name="device_status_events",
    time_column="timestamp",
    key=("event_id", "timestamp"),
    columns=(
        "event_id", "timestamp", "sequence", "device_id", "serial_number", "site_id", "previous_status", "new_status", "reason", *_SOURCE,
    ),
    span=Span.MONTH,
    ahead=1,
    revised=False,
    retention_setting="retention_status_events_days",
)  # fmt: skip
NOTIFICATIONS: Final = Table(
    name="notifications",
    time_column="timestamp",
    key=("notification_id", "timestamp"),
    columns=(
        "notification_id", "timestamp", "kind", "severity", "serial_number", "site_id", "device_id", "title", "message", "data", *_SOURCE,
    ),
    span=Span.MONTH,
    ahead=1,
    revised=False,
    retention_setting="retention_notifications_days",
)  # fmt: skip

TABLES: Final = (DEVICE_AGGREGATES, SITE_AGGREGATES, DEVICE_STATUS_EVENTS, NOTIFICATIONS)

LOCK_MIGRATION: Final = 0x454D_5301
LOCK_MAINTENANCE: Final = 0x454D_5302
"""Keys of the advisory locks under which one process at a time changes the schema, or the partitions."""

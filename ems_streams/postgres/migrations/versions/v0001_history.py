"""Tables of the history: windows per device and per site, status transitions, notifications, and the offsets of the sink."""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WINDOW_COLUMNS = """
  window_end timestamptz NOT NULL,
  revision integer NOT NULL,
  event_count bigint NOT NULL,
  metrics jsonb NOT NULL,
  energy_kwh double precision,
  energy_quality text,
  energy_covered_share double precision,
  event_id text NOT NULL,
  source_partition integer NOT NULL,
  source_offset bigint NOT NULL,
  written_at timestamptz NOT NULL DEFAULT now()
"""

# The primary keys are also what history is read by: equality on all before the time, backwards from there.
TABLES = {
    "device_aggregates": (
        "window_start",
        "1 day",
        f"""
  serial_number text NOT NULL,
  window_size text NOT NULL,
  window_start timestamptz NOT NULL,
  time_zone text NOT NULL DEFAULT '',
  device_id bigint NOT NULL,
  site_id bigint NOT NULL,
  device_type text NOT NULL,
  {WINDOW_COLUMNS},
  PRIMARY KEY (serial_number, window_size, window_start, time_zone)
""",
    ),
    "site_aggregates": (
        "window_start",
        "1 month",
        f"""
  site_id bigint NOT NULL,
  window_size text NOT NULL,
  window_start timestamptz NOT NULL,
  time_zone text NOT NULL DEFAULT '',
  devices_reported bigint NOT NULL,
  devices_total bigint NOT NULL,
  {WINDOW_COLUMNS},
  PRIMARY KEY (site_id, window_size, window_start, time_zone)
""",
    ),
    "device_status_events": (
        "timestamp",
        "1 month",
        """
  event_id text NOT NULL,
  timestamp timestamptz NOT NULL,
  sequence bigint NOT NULL,
  device_id bigint NOT NULL,
  serial_number text NOT NULL,
  site_id bigint NOT NULL,
  previous_status text NOT NULL,
  new_status text NOT NULL,
  reason text NOT NULL,
  source_partition integer NOT NULL,
  source_offset bigint NOT NULL,
  written_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, timestamp)
""",
    ),
    "notifications": (
        "timestamp",
        "1 month",
        """
  notification_id text NOT NULL,
  timestamp timestamptz NOT NULL,
  kind text NOT NULL,
  severity text NOT NULL,
  serial_number text NOT NULL,
  site_id bigint NOT NULL,
  device_id bigint NOT NULL,
  title text NOT NULL,
  message text NOT NULL,
  data jsonb NOT NULL,
  source_partition integer NOT NULL,
  source_offset bigint NOT NULL,
  written_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (notification_id, timestamp)
""",
    ),
}

INDEXES = (
    "CREATE INDEX device_status_events_of_device ON device_status_events (serial_number, timestamp DESC)",
    "CREATE INDEX device_status_events_of_site ON device_status_events (site_id, timestamp DESC)",
    "CREATE INDEX notifications_by_time ON notifications (timestamp DESC)",
    "CREATE INDEX notifications_of_device ON notifications (serial_number, timestamp DESC)",
    "CREATE INDEX notifications_of_site ON notifications (site_id, timestamp DESC)",
)

OFFSETS = """
CREATE TABLE sink_offsets (
  consumer_group text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer_group, topic, partition)
)
"""


def upgrade() -> None:
    connection = op.get_bind()
    timescale = connection.scalar(text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"))
    for name, (time_column, span, columns) in TABLES.items():
        if timescale:
            op.execute(f"CREATE TABLE {name} ({columns})")
            op.execute(f"SELECT create_hypertable('{name}', '{time_column}', chunk_time_interval => INTERVAL '{span}')")
        else:
            op.execute(f"CREATE TABLE {name} ({columns}) PARTITION BY RANGE ({time_column})")
    for statement in (*INDEXES, OFFSETS):
        op.execute(statement)


def downgrade() -> None:
    for name in (*TABLES, "sink_offsets"):
        op.execute(f"DROP TABLE {name}")

"""Metrics of the way into PostgreSQL."""

from typing import Final

from ems_streams.metrics.model import DEFINITIONS, SIZES, WORK_S, Label, Process

_SINK: Final = frozenset({Process.SINK})

ROWS: Final = DEFINITIONS.counter("ems_sink_rows_total", "Rows written, by table", _SINK, Label.TABLE)
EXPIRED_ROWS: Final = DEFINITIONS.counter(
    "ems_sink_expired_rows_total", "Rows that were left out, older than their table keeps rows", _SINK
)
TRANSACTIONS: Final = DEFINITIONS.counter(
    "ems_sink_transactions_total",
    "Transactions by outcome: `written`, `stale` (another sink has moved on), `slow` (deadline passed) or `refused` (a row that PostgreSQL does not take)",
    _SINK,
    Label.OUTCOME,
)
TRANSACTION_SECONDS: Final = DEFINITIONS.histogram(
    "ems_sink_transaction_seconds", "Time of a transaction that was written", _SINK, buckets=WORK_S
)
TRANSACTION_ROWS: Final = DEFINITIONS.histogram("ems_sink_transaction_rows", "Rows in one of them", _SINK, buckets=SIZES)

# There from the start, at zero: the first one that is counted is seen.
for _outcome in ("written", "stale", "slow", "refused"):
    TRANSACTIONS.labels(_outcome)

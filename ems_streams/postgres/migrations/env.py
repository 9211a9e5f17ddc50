"""What alembic runs for every command: all steps in one transaction, by one process at a time.

The connection comes from `ems_streams.postgres.migrate`; alembic's own command line is not used.
"""

from alembic import context
from sqlalchemy import text

from ems_streams.postgres.schema import LOCK_MIGRATION

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():
    # Whoever waits here finds everything done, since the version is read only afterwards.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_MIGRATION})
    context.run_migrations()

"""Alembic environment: migrates the warehouse over the connection that it is given."""

from alembic import context

# Importing them completes the metadata: they add their tables to those of warehouse.tables.
from warehouse import adhoc_tables, sum_tables  # noqa: F401
from warehouse.export_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    include_name=lambda name, type_, _: type_ != "schema" or name in ("reporting", "ops"),
    version_table_schema="ops",
)
with context.begin_transaction():
    context.run_migrations()

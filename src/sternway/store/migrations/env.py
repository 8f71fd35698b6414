"""How Alembic runs here: on the connection that `sternway.store.migrate` hands over, in its one transaction."""

from alembic import context

from sternway.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()

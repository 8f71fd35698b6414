"""Alembic's migrations of the journal's schema, run by `sternway.store.migrate` when a database is opened."""

"""The store: one contract for every kind, and what only a database on a disk must bear."""

"""The journal and people's commands, durable. Rule: nothing here decides; what it is given it keeps.

Read `lines` first (what a line of the journal keeps), then `sql`.
"""

from sternway.store.lock import StateLock
from sternway.store.sql import SqlStore

__all__ = ["SqlStore", "StateLock"]

"""Every store passes the same contract, the fake included."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sternway.store import SqlStore
from sternway.testing import MemoryStore

Store = SqlStore | MemoryStore


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of each kind."""
    store: Store = SqlStore(tmp_path / "journal.sqlite") if request.param == "sqlite" else MemoryStore()
    await store.open()
    yield store
    await store.close()

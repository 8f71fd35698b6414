"""What many services record at once is one transaction; what cannot be recorded keeps nobody else's up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from sternway.errors import StoreUnavailable
from sternway.store import SqlStore
from store.values import a_pass

SERVICES = tuple(f"service-{number}" for number in range(20))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """Open a store."""
    store = SqlStore(tmp_path / "journal.sqlite")
    await store.open()
    yield store
    await store.close()


@contextmanager
def busy(store: SqlStore) -> Iterator[Callable[[], None]]:
    """Keep the writer's thread busy until it is told to go on. Counts the commits from then on."""
    free = threading.Event()
    waits = asyncio.create_task(store._writer.run(free.wait, 60.0))
    yield free.set
    free.set()
    waits.cancel()


def count_commits(store: SqlStore) -> list[object]:
    """Fill a list with each commit."""
    commits: list[object] = []
    event.listen(store._writer._engine, "commit", commits.append)
    return commits


async def test_what_waits_is_written_in_one_transaction(store: SqlStore) -> None:
    """In the order in which it came, and durable once its own `record` returns."""
    commits = count_commits(store)
    with busy(store) as go_on:
        records = [
            asyncio.create_task(store.record([a_pass(float(second), service=service)], sync=second == 2))
            for second in (1, 2)
            for service in SERVICES
        ]
        await asyncio.sleep(0)
        go_on()
        await asyncio.gather(*records)
    assert len(commits) == 1
    read = await store.entries()
    assert [(one.at_s, one.service) for one in read] == [(float(n), service) for n in (1, 2) for service in SERVICES]
    assert await store.progress(SERVICES[7]) == a_pass(2.0, service=SERVICES[7]).progress


async def test_what_cannot_be_written_fails_alone(store: SqlStore) -> None:
    """Everything else that waited with it is there."""
    bad = replace(a_pass(1.0, service="bad"), observation=object())  # type: ignore[arg-type]  # a bug of ours
    with busy(store) as go_on:
        records = [
            asyncio.create_task(store.record([entry]))
            for entry in (*(a_pass(1.0, service=service) for service in SERVICES), bad, a_pass(2.0, service="last"))
        ]
        await asyncio.sleep(0)
        go_on()
        said = await asyncio.gather(*records, return_exceptions=True)
    assert [type(one) for one in said] == [*(type(None) for _ in SERVICES), TypeError, type(None)]
    assert [one.service for one in await store.entries()] == [*SERVICES, "last"]


async def test_a_database_that_is_down_is_told_to_everybody(store: SqlStore) -> None:
    """Each of them hears that nothing was written, and may try again."""

    def pages(count: int) -> None:
        with store._writer.reading() as connection:
            connection.exec_driver_sql(f"PRAGMA query_only = {count}")

    await store._writer.run(pages, 1)
    with busy(store) as go_on:
        records = [asyncio.create_task(store.record([a_pass(1.0, service=service)])) for service in SERVICES]
        await asyncio.sleep(0)
        go_on()
        said = await asyncio.gather(*records, return_exceptions=True)
    assert {type(one) for one in said} == {StoreUnavailable}
    assert not await store.entries()
    await store._writer.run(pages, 0)
    await store.record([a_pass(2.0)])
    assert [one.at_s for one in await store.entries()] == [2.0]


async def test_who_gives_up_is_looked_for_without_a_look_into_what_waits(store: SqlStore) -> None:
    """What the others would write is not compared with it: the thread may take it away meanwhile."""

    class Compared(list[object]):
        """Tells that somebody looked."""

        looked = False

        def __eq__(self, other: object) -> bool:
            Compared.looked = True
            return self is other

        __hash__ = None  # type: ignore[assignment]

    with busy(store) as go_on:
        others = asyncio.create_task(store.record([replace(a_pass(1.0), observation=Compared())]))  # type: ignore[arg-type]
        given_up = asyncio.create_task(store.record([replace(a_pass(1.0), observation=Compared())]))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert not Compared.looked
        go_on()
        await asyncio.gather(others, return_exceptions=True)


async def test_who_gives_up_waiting_writes_nothing(store: SqlStore) -> None:
    """A pass that is cut off before its line was written will write it again."""
    with busy(store) as go_on:
        given_up = asyncio.create_task(store.record([a_pass(1.0, service="given-up")]))
        kept = asyncio.create_task(store.record([a_pass(1.0, service="kept")]))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        go_on()
        await kept
    assert [one.service for one in await store.entries()] == ["kept"]

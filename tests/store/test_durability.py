"""What was acknowledged is there again, whatever kills the process."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sternway.domain.releases import Progress
from sternway.domain.versions import ConfigFile
from sternway.errors import StoreUnavailable
from sternway.store import SqlStore, dialects
from store.values import STABLE, a_pass

WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store.values import a_pass
from sternway.store import SqlStore

async def main():
    store = SqlStore(Path(sys.argv[1]))
    await store.open()
    second = 0
    while True:
        second += 1
        await store.record([a_pass(float(second)), a_pass(float(second), service="web")], sync=second % 5 == 0)
        print(second, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 43])
async def test_every_acknowledged_line_survives_kill_9(tmp_path: Path, lines: int) -> None:
    """A writer is killed in the middle of its work: all it was told was durable is there, in whole transactions."""
    path = tmp_path / "journal.sqlite"
    argv = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[1])]
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    acknowledged = [int(await child.stdout.readline()) for _ in range(lines)]
    child.kill()
    acknowledged += [int(line) for line in (await child.stdout.read()).split()]
    await child.wait()

    store = SqlStore(path)
    await store.open()
    read = await store.entries()
    progress = await store.progress("orders")
    await store.close()

    seconds = [entry.at_s for entry in read if entry.service == "orders"]
    assert seconds == [entry.at_s for entry in read if entry.service == "web"]
    assert seconds == [float(second) for second in range(1, len(seconds) + 1)]
    assert len(seconds) >= acknowledged[-1]
    assert progress == a_pass(seconds[-1]).progress


async def test_a_synced_record_is_written_through_to_the_disk(tmp_path: Path) -> None:
    """`sync` asks the database for durability against power loss; without it a commit does not wait for the disk."""
    store = SqlStore(tmp_path / "journal.sqlite")
    await store.open()

    def synchronous() -> object:
        with store._writer.reading() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    await store.record([a_pass(1.0)], sync=True)
    synced = await store._writer.run(synchronous)
    await store.record([a_pass(2.0)])
    plain = await store._writer.run(synchronous)
    await store.close()

    assert (synced, plain) == (2, 1)  # FULL, NORMAL


async def test_a_cancelled_record_is_whole_or_absent(tmp_path: Path) -> None:
    """A caller that is cancelled while it waits leaves no half transaction behind."""
    store = SqlStore(tmp_path / "journal.sqlite")
    await store.open()
    waiting = asyncio.create_task(store.record([a_pass(1.0), a_pass(2.0)]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await store.record([a_pass(3.0)])

    seconds = [entry.at_s for entry in await store.entries()]
    await store.close()

    assert seconds in ([1.0, 2.0, 3.0], [3.0])


async def test_a_restart_within_a_release_goes_on_where_it_was(tmp_path: Path) -> None:
    """After a restart the release's next line is no first line again, and the phase is still known."""
    for second in (1.0, 2.0):
        store = SqlStore(tmp_path / "journal.sqlite")
        await store.open()
        await store.record([a_pass(second)])
        read = await store.entries()
        await store.close()

    assert [entry.before for entry in read] == [None, None]
    assert [entry.progress is not None for entry in read] == [True, False]


async def test_interned_values_are_written_again_after_a_failed_commit(tmp_path: Path) -> None:
    """A record that failed leaves no reference to a value that is not there."""
    store = SqlStore(tmp_path / "journal.sqlite")
    await store.open()
    big = replace(STABLE, workload=replace(STABLE.workload, files=(ConfigFile(path="/big", content="x" * 200_000),)))
    entry = replace(a_pass(1.0), progress=Progress(service="orders", stable=big))
    await store._writer.run(_limit_pages, store, 1)
    with pytest.raises(StoreUnavailable, match="full"):
        await store.record([entry])
    await store._writer.run(_limit_pages, store, 100_000)
    await store.record([entry])

    read = await store.entries()
    await store.close()

    assert [line.progress for line in read] == [entry.progress]


async def test_roll_up_forgets_versions_that_nothing_names_any_more(tmp_path: Path) -> None:
    """Files of versions long gone do not fill the disk; those still named can be read."""
    store = SqlStore(tmp_path / "journal.sqlite")
    await store.open()
    for number in range(5):
        entry = a_pass(float(number), release=f"orders-{number}")
        assert entry.observation is not None
        assert entry.observation.wanted is not None
        wanted = replace(entry.observation.wanted, commit=str(number))
        await store.record([replace(entry, observation=replace(entry.observation, wanted=wanted))])
    before = await store._reader.run(_count_interned, store)

    await store.roll_up(1e6, keep_releases=1, forget_s=1.0)

    assert await store._reader.run(_count_interned, store) == before - 4
    assert len(await store.entries()) == 1
    await store.record([a_pass(2e6)])
    assert len(await store.entries()) == 2
    await store.close()


async def test_roll_up_gives_the_disk_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that was large once is small again on the disk, and a record during the roll-up is not lost."""
    monkeypatch.setattr(dialects, "_SPARE_PAGES", 64)
    path = tmp_path / "journal.sqlite"
    store = SqlStore(path)
    await store.open()
    long = "a long sentence, " * 600
    for number in range(5):
        entries = [a_pass(float(second), release=f"orders-{number}") for second in range(200)]
        assert entries[0].decision is not None
        await store.record([replace(e, decision=replace(e.decision, reason=long)) for e in entries if e.decision])
    await store.close()
    large = path.stat().st_size
    store = SqlStore(path)
    await store.open()

    rolling = asyncio.create_task(store.roll_up(1e4, keep_releases=1))
    during = 0
    while not rolling.done():
        await store.record([a_pass(1e4 + during, release="orders-4")])
        during += 1
    await rolling
    left = await store.entries(release="orders-4")
    await store.close()

    assert large > 9_000_000
    assert path.stat().st_size < large * 0.7  # a fifth is in use, and as much may be kept free
    assert [entry.at_s for entry in left[200:]] == [1e4 + second for second in range(during)]


def _limit_pages(store: SqlStore, pages: int) -> None:
    with store._writer.reading() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def _count_interned(store: SqlStore) -> int:
    with store._reader.reading() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM interned").scalar_one())

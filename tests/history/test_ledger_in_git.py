"""The ledger: what was proven good or bad is kept in Git notes, with the history itself."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from git_world import Repository, World

from sternway.domain.releases import Mark
from sternway.errors import HistoryUnavailable


def mark(commit: str, number: int = 1, *, service: str = "orders", verdict: str = "good") -> Mark:
    """Make a line of the ledger."""
    return Mark(
        service=service,
        version=f"1.{number}.0-abc",
        commit=commit,
        verdict=verdict,
        release=f"{service}-{number}",
        why="no worse: é\nin 200 requests",
        at_s=1_700_000_000.0 + number,
    )


@pytest.fixture(params=["work tree", "bare"])
def source(request, world: World) -> tuple[Repository, Path]:
    """Make a user's repository, and name it or a server with its content as the source."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    return shop, shop.folder if request.param == "work tree" else world.server(shop)


async def test_marks_are_read_back_oldest_first_also_without_the_local_state(world: World, source) -> None:
    """A rebuilt machine knows what was proven, from the repository alone."""
    shop, place = source
    first, second = shop.head(), shop.commit({"a.yaml": "a: 2\n"})
    if shop.git("remote"):
        shop.git("push", "-q")
    history = await world.opened(place)
    marks = [mark(second, 3), mark(first, 1), mark(first, 2, verdict="bad")]
    await history.mark(marks[:1])
    await history.mark(marks[1:])
    expected = (marks[1], marks[2], marks[0])
    assert await history.ledger() == expected
    rebuilt = await world.opened(place, state="rebuilt")
    assert await rebuilt.ledger() == expected


async def test_the_ledger_is_readable_with_plain_git(world: World) -> None:
    """`git notes --ref=sternway show` gives JSON lines, in the user's own repository."""
    shop = world.repository()
    head = shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    await history.mark([mark(head), mark(head, 2)])
    lines = shop.git("notes", "--ref=sternway", "show", head).splitlines()
    assert [json.loads(line)["release"] for line in lines] == ["orders-1", "orders-2"]


async def test_marking_again_changes_nothing(world: World, source) -> None:
    """A mark repeated after a crash, even at a later time, leaves the first one alone."""
    shop, place = source
    history = await world.opened(place)
    await history.mark([mark(shop.head())])
    before = history._mirror.folder, await history._mirror.git.ok("rev-parse", "refs/notes/sternway")
    await history.mark([dataclasses.replace(mark(shop.head()), at_s=1.9e9), mark(shop.head())])
    assert (await history._mirror.git.ok("rev-parse", "refs/notes/sternway")).text == before[1].text
    assert await history.ledger() == (mark(shop.head()),)


async def test_two_writers_of_the_ledger_lose_no_mark(world: World, source) -> None:
    """Marks on one commit by two Sternways at once are all kept."""
    shop, place = source
    histories = [await world.opened(place, state=state) for state in ("one", "two")]

    async def write(number: int) -> None:
        for index in range(5):
            await histories[number].mark([mark(shop.head(), index, service=f"service-{number}")])

    async with asyncio.timeout(100):
        await asyncio.gather(write(0), write(1))
    found = {(found.service, found.release) for found in await histories[0].ledger()}
    assert found == {(f"service-{n}", f"service-{n}-{index}") for n in (0, 1) for index in range(5)}


async def test_a_mark_on_a_commit_that_is_gone_is_kept_all_the_same(world: World) -> None:
    """A forced push and a new machine do not make the ledger forget."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    gone = mark("0123456789" * 4, verdict="bad")
    await history.mark([gone])
    assert await history.ledger() == (gone,)


async def test_notes_of_other_people_are_neither_lost_nor_taken_for_marks(world: World) -> None:
    """A line that is no mark stays where it is."""
    shop = world.repository()
    head = shop.commit({"a.yaml": "a: 1\n"})
    shop.git("notes", "--ref=sternway", "add", "-m", "Looked at by Bo", head)
    history = await world.opened(shop.folder)
    await history.mark([mark(head)])
    assert await history.ledger() == (mark(head),)
    assert "Looked at by Bo" in shop.git("notes", "--ref=sternway", "show", head)


async def test_without_the_repository_a_mark_is_retried_and_the_ledger_still_read(world: World, source) -> None:
    """What was read before serves on; what cannot be written says when to try again."""
    shop, place = source
    history = await world.opened(place)
    head = shop.head()
    await history.mark([mark(head)])
    place.rename(world.folder / "away")
    with pytest.raises(HistoryUnavailable):
        await history.mark([mark(head, 2)])
    assert await history.ledger() == (mark(head),)
    (world.folder / "away").rename(place)
    await history.mark([mark(head, 2)])
    assert await history.ledger() == (mark(head), mark(head, 2))

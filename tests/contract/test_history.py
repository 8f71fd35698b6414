"""What every History keeps: commits are read as they were, a revert is made once, marks are written once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract_world import Kept

from sternway.domain.releases import Mark, Revert
from sternway.errors import HistoryUnavailable, Refused

GOOD = "# orders\nkind: Deployment\nmetadata: {name: orders}\nimage: orders:1.0.0\n"
BAD = GOOD.replace("1.0.0", "1.1.0")
STOCK = "kind: Deployment\nmetadata: {name: stock}\nimage: stock:1.0.0\n"


def revert(bad: str, restore: str) -> Revert:
    """Take a release of orders back."""
    return Revert(
        release="orders-1",
        service="orders",
        bad=bad,
        restore=restore,
        documents=(("orders.yaml", "Deployment", "orders"),),
        subject="Roll orders back",
        body="It failed.",
        trailers=(("Sternway-Release", "orders-1"),),
    )


def mark(verdict: str, commit: str, at_s: float) -> Mark:
    """Say something of a version."""
    return Mark(
        service="orders",
        version="1.1.0-abcdef",
        commit=commit,
        verdict=verdict,
        release="orders-1",
        why="so",
        at_s=at_s,
    )


async def test_the_head_follows_what_is_committed(kept: Kept):
    """Every file of the newest commit, as it stands there."""
    first = kept.commit({"orders.yaml": GOOD})
    assert (await kept.history.head()).commit == first
    second = kept.commit({"orders.yaml": BAD, "stock.yaml": STOCK})
    head = await kept.history.head()
    assert (head.commit, dict(head.files)) == (second, {"orders.yaml": BAD, "stock.yaml": STOCK})


async def test_an_earlier_commit_is_read_as_it_was(kept: Kept):
    """What was proven good can be looked up for as long as Git holds it."""
    first = kept.commit({"orders.yaml": GOOD})
    kept.commit({"orders.yaml": BAD})
    await kept.history.head()
    assert dict((await kept.history.at(first)).files) == {"orders.yaml": GOOD}


async def test_a_commit_that_is_not_there_is_refused(kept: Kept):
    """A clear refusal, not an answer about something else."""
    kept.commit({"orders.yaml": GOOD})
    with pytest.raises(Refused, match="feedfacefeed"):
        await kept.history.at("feedfacefeedfacefeedfacefeedfacefeedface")


async def test_a_revert_restores_the_service_and_nothing_else(kept: Kept):
    """The head holds the good text again; what others committed since stays."""
    good = kept.commit({"orders.yaml": GOOD, "stock.yaml": STOCK})
    bad = kept.commit({"orders.yaml": BAD})
    kept.commit({"stock.yaml": STOCK.replace("1.0.0", "2.0.0")})
    await kept.history.head()
    done = await kept.history.revert(revert(bad, good))
    assert done.release == "orders-1"
    head = await kept.history.head()
    assert head.commit == done.commit
    assert dict(head.files) == {"orders.yaml": GOOD, "stock.yaml": STOCK.replace("1.0.0", "2.0.0")}


async def test_a_revert_is_made_once(kept: Kept):
    """Asked for again after a crash, it is found, not made again."""
    good = kept.commit({"orders.yaml": GOOD})
    bad = kept.commit({"orders.yaml": BAD})
    first = await kept.history.revert(revert(bad, good))
    second = await kept.history.revert(revert(bad, good))
    assert second.commit == first.commit is not None
    assert (await kept.history.head()).commit == first.commit


async def test_marks_are_kept_once_oldest_first(kept: Kept):
    """The ledger is the same however often a mark is written."""
    commit = kept.commit({"orders.yaml": GOOD})
    await kept.history.head()
    bad, good = mark("bad", commit, 1000.0), mark("good", commit, 2000.0)
    await kept.history.mark([bad])
    await kept.history.mark([bad, good])
    await kept.history.mark([good])
    assert await kept.history.ledger() == (bad, good)
    other = replace(bad, service="stock", at_s=3000.0)
    await kept.history.mark([other])
    assert await kept.history.ledger() == (bad, good, other)


async def test_while_the_repository_is_away_writing_is_unavailable_and_works_later(kept: Kept):
    """Temporary, with a time to try again; what was known of the ledger can still be read."""
    good = kept.commit({"orders.yaml": GOOD})
    bad = kept.commit({"orders.yaml": BAD})
    await kept.history.head()
    first = mark("good", good, 1000.0)
    await kept.history.mark([first])
    kept.away()
    with pytest.raises(HistoryUnavailable) as away:
        await kept.history.revert(revert(bad, good))
    assert away.value.retry_in_s > 0
    with pytest.raises(HistoryUnavailable):
        await kept.history.mark([mark("bad", bad, 2000.0)])
    assert await kept.history.ledger() == (first,)
    kept.back()
    done = await kept.history.revert(revert(bad, good))
    assert (await kept.history.head()).commit == done.commit
    assert len(await kept.history.ledger()) == 1

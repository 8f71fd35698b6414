"""Work that is done again whenever there is news, and tried again when it fails."""

import asyncio

import pytest

from sternway.control.persisting import persist
from sternway.errors import NotTold


async def test_what_fails_is_told_and_tried_again_until_it_is_done():
    """What is temporary in its own words, a bug with its traceback; then nothing is in the way, and the next news is worked on."""
    news, told, done = asyncio.Event(), [], asyncio.Event()
    ends = iter((NotTold("nobody answers"), KeyError("a bug"), None, None))

    async def work() -> None:
        end = next(ends)
        if end is not None:
            raise end
        done.set()

    task = asyncio.create_task(persist(work, news=news, tell=told.append, waits_s=(0.001, 0.002)))
    for _ in range(2):
        await asyncio.wait_for(done.wait(), 30)
        done.clear()
        news.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    failed, broken, *after = told
    assert failed == "nobody answers"
    assert "Traceback" in broken
    assert set(after) == {""}


@pytest.mark.parametrize("every_s", [None, 0.001], ids=["news in the middle", "time alone"])
async def test_it_is_done_again(every_s: float | None):
    """News that comes while it works is not lost; with `every_s` none is needed."""
    news, rounds, enough = asyncio.Event(), [], asyncio.Event()

    async def work() -> None:
        rounds.append(None)
        if every_s is None:
            news.set()
        if len(rounds) == 3:
            enough.set()

    task = asyncio.create_task(persist(work, news=news, tell=lambda _: None, waits_s=(1, 1), every_s=every_s))
    await asyncio.wait_for(enough.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

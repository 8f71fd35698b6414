"""Work that is done again whenever there is news, and tried again when it fails. Called by `courier` and `keeper`."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable
from typing import NoReturn

from sternway.errors import Temporary


async def persist(
    work: Callable[[], Awaitable[None]],
    *,
    news: asyncio.Event,
    tell: Callable[[str], None],
    waits_s: tuple[float, float],
    every_s: float | None = None,
) -> NoReturn:
    """Until cancelled: work, then wait for news, or for `every_s`. What fails is told, and tried again ever more slowly.

    waits_s: the shortest and the longest wait after a failure. tell: is told what is in the way, "" when nothing is.
    """
    shortest_s, longest_s = waits_s
    wait_s = 0.0
    while True:
        news.clear()
        try:
            await work()
        except Temporary as trouble:
            tell(str(trouble))
        except Exception:  # noqa: BLE001  a bug here must not end it for ever; it is shown in `status`
            tell(traceback.format_exc())
        else:
            tell("")
            wait_s = 0.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await news.wait()
            continue
        wait_s = min(longest_s, max(shortest_s, 2 * wait_s))
        await asyncio.sleep(wait_s)

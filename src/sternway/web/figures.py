"""Keeps the figures of every release up to date with the journal. Used by the API's report and by the exported metrics.

The journal is read once, a piece at a time, and from then on only what is new. A platform that does not run is read likewise.
"""

from __future__ import annotations

import asyncio

from sternway.control.measures import Books, Measured, Totals
from sternway.web.services import Journaled

_PAGE = 100


class Figures:
    """Reads what is new each time that somebody asks."""

    def __init__(self, recorded: Journaled) -> None:
        self._recorded = recorded
        self._books = Books()
        self._reading = asyncio.Lock()

    async def releases(self) -> tuple[Measured, ...]:
        """Every release that the journal holds, by what is known of it now. Raises StoreUnavailable."""
        async with self._reading:
            await self._catch_up()
            return self._books.releases()

    async def totals(self) -> dict[str, Totals]:
        """The sums of every service that has had a release. Raises StoreUnavailable."""
        async with self._reading:
            await self._catch_up()
            return self._books.totals(self._recorded.clock.now())

    async def _catch_up(self) -> None:
        await self._read_lines()
        for service in await self._recorded.journal.services():
            self._books.now(await self._recorded.reconciler.progress(service))

    async def _read_lines(self) -> None:
        while True:
            lines = await self._recorded.journal.milestones(after=self._books.seq, limit=_PAGE)
            for line in lines:
                self._books.take(line)
            if len(lines) < _PAGE:
                return

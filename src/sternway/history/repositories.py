"""`Repositories`: the Git repositories that workloads of a cluster come from, behind `ports.Repositories`.

One mirror for each repository, made when a rollback first needs it. Built by `sternway.cluster`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from sternway.clock import Clock
from sternway.domain.gitops import TakeBack
from sternway.domain.releases import Reverted
from sternway.history.access import GitAccess, Way
from sternway.history.git import GitHistory
from sternway.history.takeback import choose


class Repositories:
    """state: the folder that the mirrors are kept in. access: the folder with what the Secret `sternway-git` holds."""

    def __init__(self, *, state: Path, access: Path | None, clock: Clock) -> None:
        self._state = state
        self._access = GitAccess(access)
        self._clock = clock
        self._opened: dict[tuple[str, str], tuple[Way, GitHistory]] = {}
        self._opening = asyncio.Lock()

    async def take_back(self, asked: TakeBack) -> Reverted:
        """See ports.Repositories."""
        history = await self._history(asked.origin.repository, asked.origin.branch)
        return await history.revert_as(asked.revert, partial(choose, asked))

    async def _history(self, repository: str, branch: str) -> GitHistory:
        way = self._access.way(repository)
        async with self._opening:
            known = self._opened.get((repository, branch))
            if known is not None and known[0] == way:
                return known[1]
            history = GitHistory(
                source=way.source,
                branch=branch or None,
                path="",
                state_dir=self._state,
                clock=self._clock,
                wake=lambda: None,
                environment=dict(way.environment),
            )
            await history.open()
            self._opened[repository, branch] = (way, history)
            return history

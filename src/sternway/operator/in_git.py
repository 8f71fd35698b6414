"""The Git part of a rollback in a cluster: reverted where the service comes from, or said why not. Called by `undoing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sternway.domain.gitops import Origin, TakeBack, Unfollowed
from sternway.domain.releases import Revert, Reverted
from sternway.errors import HistoryUnavailable, SternwayError, Temporary
from sternway.operator.origins import Origins
from sternway.ports import Repositories

Ask = Callable[[Revert, Origin, tuple[str, ...]], TakeBack]
"""(revert, where it comes from, commits of the good version) -> what to take back in Git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InGit:
    """origins: where services come from. ask: the platform's words. repositories: who pushes."""

    origins: Origins
    ask: Ask
    repositories: Repositories

    async def revert(self, revert: Revert, restored: str) -> Reverted:
        """Revert, if a tool of GitOps keeps the service. restored: what was done in the cluster, in words.

        Raises HistoryUnavailable while the server does not answer. What only a person can mend is final, and said.
        """
        found = self.origins.of(revert.service)
        if found is None:
            return Reverted(release=revert.release, commit=None, message=restored)
        if isinstance(found, Unfollowed):
            return _left(revert, restored, f"{found.why}. {_capital(found.fix)}")
        good = self.origins.commits(revert.service, revert.restore)
        try:
            done = await self.repositories.take_back(self.ask(revert, found, good))
        except Temporary as exc:
            said = f"{restored}; not reverted in Git yet: {exc.message}"
            raise HistoryUnavailable(said, hint=exc.hint, retry_in_s=exc.retry_in_s) from exc
        except SternwayError as exc:
            return _left(revert, restored, f"{exc.message}. {_capital(exc.hint)}" if exc.hint else exc.message)
        where = f"in {found.repository}, for {found.by} to sync" if done.commit else f"({found.repository})"
        return replace(done, message=f"{done.message} {where}")


def _left(revert: Revert, restored: str, why: str) -> Reverted:
    return Reverted(release=revert.release, commit=None, message=f"{restored}; not reverted in Git: {why}")


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"

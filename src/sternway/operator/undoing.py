"""What follows a rollback in a cluster: `sternway.ports.Undoing`. Driven by `control.outbox`, which tries until it is done.

First what stands in the cluster is restored, where no tool of GitOps would put it back; then, where one keeps the service,
its repository is reverted. What cannot be reverted is said, and held: the traffic stays with the good version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sternway.domain.gitops import Origin, TakeBack, Unfollowed
from sternway.domain.releases import Mark, Revert, Reverted
from sternway.errors import HistoryUnavailable, SternwayError, Temporary
from sternway.kubernetes.api import Api, Object, Patch, name_of, namespace_of
from sternway.kubernetes.ours import LEDGER, REVISIONS, annotation
from sternway.kubernetes.resources import GUARDS
from sternway.operator.ledger import read_ledger, spell_ledger, with_marks
from sternway.operator.origins import Origins
from sternway.ports import Repositories

Restore = Callable[[str, str, str], Awaitable[str]]
"""(service, fingerprint of the bad version, of the good one) -> what was done, in words."""
Ask = Callable[[Revert, Origin, tuple[str, ...]], TakeBack]
"""(revert, where it comes from, commits of the good version) -> what to take back in Git."""


class ClusterUndoing:
    """Restores Deployments and their configuration, reverts Git, and keeps the ledger on the Guards.

    guard: the one that governs a service now. restore: the platform's. origins, ask, repositories: for GitOps.
    """

    def __init__(
        self,
        *,
        api: Api,
        guard: Callable[[str], Object | None],
        restore: Restore,
        origins: Origins,
        ask: Ask,
        repositories: Repositories,
    ) -> None:
        self._api = api
        self._guard = guard
        self._restore = restore
        self._origins = origins
        self._ask = ask
        self._repositories = repositories

    async def revert(self, revert: Revert) -> Reverted:
        """See ports.Undoing. In a cluster a version's commit is its fingerprint."""
        said = await self._restore(revert.service, revert.bad, revert.restore)
        found = self._origins.of(revert.service)
        if found is None:
            return Reverted(release=revert.release, commit=None, message=said)
        if isinstance(found, Unfollowed):
            message = f"{said}; nothing is reverted in Git: {found.why}. {_capital(found.fix)}"
            return Reverted(release=revert.release, commit=None, message=message)
        return await self._revert_in_git(revert, found, said)

    async def _revert_in_git(self, revert: Revert, origin: Origin, said: str) -> Reverted:
        good = self._origins.commits(revert.service, revert.restore)
        try:
            done = await self._repositories.take_back(self._ask(revert, origin, good))
        except Temporary as exc:
            raise HistoryUnavailable(
                f"{said}; not reverted in Git yet: {exc.message}", hint=exc.hint, retry_in_s=exc.retry_in_s
            ) from exc
        except SternwayError as exc:
            hint = f". {_capital(exc.hint)}" if exc.hint else ""
            return Reverted(
                release=revert.release, commit=None, message=f"{said}; not reverted in Git: {exc.message}{hint}"
            )
        where = f"in {origin.repository}, for {origin.by} to sync"
        message = f"{done.message} {where}" if done.commit else f"{done.message} ({origin.repository})"
        return replace(done, message=message)

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See ports.Undoing. Without a Guard there is nobody to remember for."""
        for service in sorted({mark.service for mark in marks}):
            guard = self._guard(service)
            if guard is None:
                continue
            name, namespace = name_of(guard), namespace_of(guard)
            live = await self._api.get(GUARDS, name, namespace)  # the store may lag behind our own last mark
            if live is None:
                continue
            new = [mark for mark in marks if mark.service == service]
            ledger = with_marks(read_ledger(live, service), new)
            text = spell_ledger(ledger)
            if text != annotation(live, LEDGER):
                version = live["metadata"]["resourceVersion"]
                revisions = self._origins.spelled(service, [mark.commit for mark in ledger])
                annotations = {LEDGER: text, **({REVISIONS: revisions} if revisions else {})}
                patch = {"metadata": {"annotations": annotations, "resourceVersion": version}}
                await self._api.patch(GUARDS, name, patch, namespace=namespace, how=Patch.MERGE)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"

"""What follows a rollback in a cluster: `sternway.ports.Undoing`. Driven by `control.outbox`, which tries until it is done.

First what stands in the cluster is restored, where no tool of GitOps would put it back; then, where one keeps the service,
its repository is reverted. What cannot be reverted is said, and held: the traffic stays with the good version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sternway.domain.releases import Mark, Revert, Reverted
from sternway.kubernetes.api import Api, Object, Patch, name_of, namespace_of
from sternway.kubernetes.ours import LEDGER, REVISIONS, annotation
from sternway.kubernetes.resources import GUARDS
from sternway.operator.in_git import InGit
from sternway.operator.ledger import read_ledger, spell_ledger, with_marks

Restore = Callable[[str, str, str], Awaitable[str]]
"""(service, fingerprint of the bad version, of the good one) -> what was done, in words."""


class ClusterUndoing:
    """Restores Deployments and their configuration, reverts Git, and keeps the ledger on the Guards.

    guard: the one that governs a service now. restore: the platform's. git: without it, the cluster alone is restored.
    """

    def __init__(
        self, *, api: Api, guard: Callable[[str], Object | None], restore: Restore, git: InGit | None = None
    ) -> None:
        self._api = api
        self._guard = guard
        self._restore = restore
        self._git = git

    async def revert(self, revert: Revert) -> Reverted:
        """See ports.Undoing. In a cluster a version's commit is its fingerprint."""
        said = await self._restore(revert.service, revert.bad, revert.restore)
        if self._git is None:
            return Reverted(release=revert.release, commit=None, message=said)
        return await self._git.revert(revert, said)

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
                annotations = {LEDGER: text, **self._revisions(service, [mark.commit for mark in ledger])}
                patch = {"metadata": {"annotations": annotations, "resourceVersion": version}}
                await self._api.patch(GUARDS, name, patch, namespace=namespace, how=Patch.MERGE)

    def _revisions(self, service: str, pods: Sequence[str]) -> dict[str, str]:
        spelled = self._git.origins.spelled(service, pods) if self._git else ""
        return {REVISIONS: spelled} if spelled else {}

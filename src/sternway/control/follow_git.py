"""Follows the watched branch: the catalogue of what Git asks for, and the ledger. Used by observe and the API.

A commit that cannot be read or is not valid changes nothing: the last valid catalogue stays, the problems are shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from sternway.domain.policies import Policy
from sternway.domain.releases import Mark, Wanted
from sternway.domain.traffic import Can
from sternway.domain.versions import Version
from sternway.errors import InvalidInput, Problem
from sternway.manifests.admission import unsupported
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.load import load
from sternway.policy import governs
from sternway.ports import History, Snapshot


class GitFollower:
    """Holds the latest valid catalogue and the ledger. in_force: the commit of the catalogue.

    admit: asked last whether a commit may come into force; gives what is wrong with it.
    """

    def __init__(
        self,
        *,
        history: History,
        capabilities: frozenset[Can],
        router: str,
        origin: str,
        wake: Callable[[str], None],
        admit: Callable[[Catalogue], Awaitable[tuple[Problem, ...]]] | None = None,
    ) -> None:
        self._history = history
        self._capabilities = capabilities
        self._router = router
        self._origin = origin
        self._wake = wake
        self._admit = admit
        self._ledger: tuple[Mark, ...] = ()
        self._wanted: dict[str, Wanted] = {}
        self.catalogue: Catalogue | None = None
        self.head: Snapshot | None = None
        self.in_force = ""
        self.problems: tuple[Problem, ...] = ()

    async def follow(self) -> None:
        """Read the branch again. Raises HistoryUnavailable; wakes every service that may be concerned."""
        try:
            snapshot = await self._history.head()
        except InvalidInput as unreadable:
            self.problems = unreadable.problems
            return
        self._ledger = await self._history.ledger()
        if self.head is not None and snapshot.commit == self.head.commit:
            return
        self.head = snapshot
        try:
            catalogue = self._load(snapshot)
        except InvalidInput as invalid:
            self.problems = invalid.problems
            return
        self.problems = await self._admit(catalogue) if self._admit else ()
        if self.problems:
            return
        self._use(catalogue, snapshot)

    async def resume(self, commit: str) -> None:
        """After a start at a head that is not valid: go on with the commit that was in force. Raises SternwayError."""
        snapshot = await self._history.at(commit)
        self._use(self._load(snapshot), snapshot)

    def wanted(self, service: str) -> Wanted | None:
        """What Git asks for a service."""
        return self._wanted.get(service)

    def policies(self, service: str) -> tuple[Policy, ...]:
        """The rules in Git that are about a service."""
        known = self.catalogue.policies if self.catalogue else ()
        return tuple(policy for policy in known if governs(policy, service))

    def bad(self, service: str) -> tuple[str, ...]:
        """Ids of the versions whose last word in the ledger is bad."""
        last = {mark.version: mark.verdict for mark in self._ledger if mark.service == service}
        return tuple(sorted(version for version, verdict in last.items() if verdict == "bad"))

    async def last_good(self, service: str) -> Version | None:
        """The version that the ledger called good last, as its commit describes it."""
        bad = self.bad(service)
        for mark in reversed(self._ledger):
            if mark.service == service and mark.verdict == "good" and mark.version not in bad:
                catalogue = self._load(await self._history.at(mark.commit))
                return next((w.version for w in catalogue.wanted if w.service.name == service), None)
        return None

    def _use(self, catalogue: Catalogue, snapshot: Snapshot) -> None:
        before = set(self._wanted)
        self.catalogue, self.in_force = catalogue, snapshot.commit
        committed_s = snapshot.at_s or None
        self._wanted = {w.service.name: replace(w, committed_s=committed_s) for w in catalogue.wanted}
        for service in sorted(before | set(self._wanted)):
            self._wake(service)

    def _load(self, snapshot: Snapshot) -> Catalogue:
        catalogue = load(dict(snapshot.files), commit=snapshot.commit, origin=self._origin)
        problems = unsupported(catalogue, self._capabilities, self._router)
        if problems:
            raise InvalidInput(problems)
        return catalogue

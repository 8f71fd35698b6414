"""Which Git commit was in force with which version: seen while the tools of GitOps say so. Used by the composition root.

Needed when a version is taken back: the commit to go back to is the last one at which the good version was in force.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sternway.domain.gitops import Origin
from sternway.kubernetes.api import Object, Resource, key_of
from sternway.kubernetes.ours import REVISIONS, annotation
from sternway.kubernetes.reading import Reader, released
from sternway.operator.origin import KINDS, Found, find, rests_on

_KEPT = 30
_Key = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Origins:
    """Reads, and remembers. deployment: a service's Deployment. asked: the fingerprint that it asks for now."""

    reader: Reader
    deployment: Callable[[str], str | None]
    asked: Callable[[str], str]
    guard: Callable[[str], Object | None]
    _seen: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Service -> (fingerprint, commit), latest last."""
    _services: dict[_Key, set[str]] = field(default_factory=dict)
    _rests: dict[str, frozenset[_Key]] = field(default_factory=dict)

    def of(self, service: str) -> Found:
        """Where a service's Deployment comes from."""
        deployment = self._deployment(service)
        return find(self.reader, deployment) if deployment is not None else None

    def look(self, service: str) -> None:
        """Remember what is in force now, if that is known."""
        deployment = self._deployment(service)
        found = find(self.reader, deployment) if deployment is not None else None
        self._keep(service, rests_on(found, self.reader, deployment) if deployment is not None else frozenset())
        if isinstance(found, Origin) and found.synced and found.revision:
            seen, now = self._seen.setdefault(service, []), (self.asked(service), found.revision)
            if now[0] and (not seen or seen[-1] != now):
                seen.append(now)
                del seen[:-_KEPT]

    def changed(self, resource: Resource, obj: Object) -> None:
        """An object changed: if it is a tool's own, what it says is remembered for every service that it is about."""
        if resource in KINDS:
            for service in tuple(self._services.get((resource.plural, *key_of(obj)), ())):
                self.look(service)

    def forget(self, service: str) -> None:
        """The service is no more."""
        self._keep(service, frozenset())
        self._seen.pop(service, None)

    def commits(self, service: str, pod: str) -> tuple[str, ...]:
        """The commits at which a version was in force, the latest first; also what an earlier process saw."""
        seen = [commit for version, commit in reversed(self._seen.get(service, ())) if version == pod]
        kept = self._kept(service).get(pod)
        return tuple(dict.fromkeys((*seen, *((kept,) if kept else ()))))

    def brought(self, service: str, pod: str) -> str:
        """The commit that brought a version, for people; "" where that was not seen.

        A tool may tell of a sync after the cluster shows it: a commit that was in force with another version before is none.
        """
        others: set[str] = set()
        for version, commit in self._seen.get(service, ()):
            if version == pod and commit not in others:
                return commit
            others |= {commit} if version != pod else set()
        return next(iter(self.commits(service, pod)), "")

    def spelled(self, service: str, pods: Collection[str]) -> str:
        """The annotation's text, for these versions; "" when nothing is known."""
        known = {pod: found[0] for pod in sorted(set(pods)) if (found := self.commits(service, pod))}
        return json.dumps(known, separators=(",", ":")) if known else ""

    def _kept(self, service: str) -> dict[str, str]:
        guard = self.guard(service)
        try:
            found = json.loads(annotation(guard, REVISIONS) or "{}") if guard else {}
        except ValueError:
            return {}
        return {str(pod): str(commit) for pod, commit in found.items()} if isinstance(found, dict) else {}

    def _deployment(self, service: str) -> Object | None:
        name = self.deployment(service)
        found = released(self.reader, service, name) if name else None
        return found[1] if found is not None else None

    def _keep(self, service: str, rests: frozenset[_Key]) -> None:
        for gone in self._rests.pop(service, frozenset()) - rests:
            self._services[gone].discard(service)
        for key in rests:
            self._services.setdefault(key, set()).add(service)
        if rests:
            self._rests[service] = rests

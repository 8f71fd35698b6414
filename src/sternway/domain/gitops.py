"""Where a tool of GitOps (Argo CD, Flux) takes a workload from, and what a rollback takes back there.

Found by `operator.origin`, acted on by `ports.Repositories`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sternway.domain.releases import Revert


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A place in a Git repository.

    by: who syncs from there, for people ("Argo CD Application argocd/shop"). branch: "" for the repository's own. folders,
    files: in the repository; a folder "" is all of it. revision: the commit that is in force; synced: whether the cluster is
    known to be as it says. alone: whether the service's workload is the only one that comes from there. names: further
    documents there that are about the workload, as (kind, name): a HelmRelease.
    """

    by: str
    repository: str
    branch: str
    folders: tuple[str, ...]
    files: tuple[str, ...] = ()
    revision: str = ""
    synced: bool = False
    alone: bool = False
    names: frozenset[tuple[str, str]] = frozenset()

    @property
    def place(self) -> str:
        """Repository and path, for people."""
        return f"{self.repository} ({', '.join(one or '/' for one in (*self.folders, *self.files))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfollowed:
    """A workload comes from somewhere that cannot be reverted: why, and what a person can do."""

    why: str
    fix: str


Fits = Callable[[Mapping[str, str]], bool | None]
"""Whether manifests (path -> text) are those of the version to go back to; None where they do not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """The Git part of a rollback in a cluster, where versions are known by fingerprints.

    revert: what is said of it. good: commits at which the version to go back to was in force, latest first; there may be none.
    names: the documents that are about the service. words: by which an entry of a shared file is known to be about it: the
    image without its tag, the names of Deployment and Service.
    """

    revert: Revert
    origin: Origin
    good: tuple[str, ...]
    names: frozenset[tuple[str, str]]
    words: frozenset[str]
    fits: Fits

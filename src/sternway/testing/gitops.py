"""Plays Argo CD and Flux: what a branch of a real Git server holds is applied to the API, again and again, and told of.

Manifests are applied by server-side apply under the managers' real names, so that whoever changes a field of theirs loses it
at the next sync. Of a `kustomization.yaml` the `resources` of the same repository and the `images` are rendered.
"""

from __future__ import annotations

import asyncio
import posixpath
import time
from dataclasses import dataclass, field
from typing import Any

import yaml

from sternway.kubernetes.api import Api, Object, Patch, Resource
from sternway.kubernetes.resources import (
    APPLICATIONS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    GIT_REPOSITORIES,
    KUSTOMIZATIONS,
    SECRETS,
    SERVICES,
)
from sternway.testing.git_server import GitServer

_KINDS = {one.kind: one for one in (DEPLOYMENTS, SERVICES, CONFIG_MAPS, SECRETS)}


@dataclass(kw_only=True)
class PlayedGitOps:
    """A controller that keeps a namespace as a folder of a repository says. Subclasses are Argo CD and Flux.

    name: of the Application or Kustomization (and GitRepository). paused: while True, nothing is synced.
    """

    api: Api
    server: GitServer
    repository: str
    namespace: str
    path: str = "apps"
    branch: str = "main"
    name: str = "shop"
    kinds: dict[str, Resource] = field(default_factory=lambda: dict(_KINDS))
    paused: bool = False
    synced: str = ""

    manager = ""

    async def install(self) -> None:
        """Make the controller's own objects."""
        raise NotImplementedError

    async def sync(self) -> str:
        """Bring the namespace to what the head of the branch says. Gives the commit."""
        commit = self.server.head(self.repository, self.branch)
        files = self.server.files(self.repository, commit)
        for manifest in rendered(files, self.path):
            resource = self.kinds.get(manifest["kind"])
            if resource is None:
                continue
            metadata = {"labels": {}, "annotations": {}, **manifest["metadata"], "namespace": self.namespace}
            owned = {**manifest, "metadata": metadata}
            self.mark(owned, resource)
            await self.api.patch(
                resource,
                metadata["name"],
                owned,
                namespace=self.namespace,
                how=Patch.APPLY,
                manager=self.manager,
                force=True,
            )
        await self.tell(commit)
        self.synced = commit
        return commit

    async def run(self, *, heal_every_s: float = 2.0) -> None:
        """Sync whenever the branch moves, and now and then besides, until cancelled."""
        last = 0.0
        while True:
            moved = self.server.head(self.repository, self.branch) != self.synced
            if not self.paused and (moved or time.monotonic() - last > heal_every_s):
                await self.sync()
                last = time.monotonic()
            await asyncio.sleep(0.1)

    def mark(self, manifest: Object, resource: Resource) -> None:
        """Write into a manifest that it is this controller's."""
        raise NotImplementedError

    async def tell(self, commit: str) -> None:
        """Write into the controller's own objects what was synced."""
        raise NotImplementedError

    async def _put(self, resource: Resource, spec: Object) -> None:
        wanted = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }
        await self.api.patch(
            resource, self.name, wanted, namespace=self.namespace, how=Patch.APPLY, manager="ada", force=True
        )


class PlayedArgo(PlayedGitOps):
    """Argo CD, with automatic sync and self-heal. Its Application stands in the service's own namespace."""

    manager = "argocd-controller"

    async def install(self) -> None:
        """Make the Application."""
        source = {"repoURL": self.server.url(self.repository), "path": self.path, "targetRevision": self.branch}
        spec = {
            "project": "default",
            "source": source,
            "destination": {"namespace": self.namespace, "server": "https://kubernetes.default.svc"},
            "syncPolicy": {"automated": {"selfHeal": True}},
        }
        await self._put(APPLICATIONS, spec)

    def mark(self, manifest: Object, resource: Resource) -> None:
        """By its tracking id, as since Argo CD 3."""
        name = manifest["metadata"]["name"]
        group = f"{resource.group}/{resource.kind}"
        identity = f"{self.namespace}_{self.name}:{group}:{self.namespace}/{name}"
        annotations = {**(manifest["metadata"].get("annotations") or {}), "argocd.argoproj.io/tracking-id": identity}
        manifest["metadata"]["annotations"] = annotations

    async def tell(self, commit: str) -> None:
        """The Application has no status of its own to write to apart."""
        source = {"repoURL": self.server.url(self.repository), "path": self.path, "targetRevision": self.branch}
        compared = {"source": source, "destination": {"namespace": self.namespace}}
        status = {"sync": {"status": "Synced", "revision": commit, "comparedTo": compared}}
        if commit != self.synced:
            await self.api.patch(
                APPLICATIONS, self.name, {"status": status}, namespace=self.namespace, manager=self.manager
            )


class PlayedFlux(PlayedGitOps):
    """Flux: a GitRepository and a Kustomization."""

    manager = "kustomize-controller"

    async def install(self) -> None:
        """Make the GitRepository and the Kustomization."""
        repository = {"interval": "1m", "url": self.server.url(self.repository), "ref": {"branch": self.branch}}
        await self._put(GIT_REPOSITORIES, repository)
        source = {"kind": "GitRepository", "name": self.name}
        await self._put(
            KUSTOMIZATIONS, {"interval": "1m", "path": f"./{self.path}", "prune": True, "sourceRef": source}
        )

    def mark(self, manifest: Object, resource: Resource) -> None:  # noqa: ARG002  the base class asks so
        """By its labels."""
        ours = {
            "kustomize.toolkit.fluxcd.io/name": self.name,
            "kustomize.toolkit.fluxcd.io/namespace": self.namespace,
        }
        manifest["metadata"]["labels"] = {**(manifest["metadata"].get("labels") or {}), **ours}

    async def tell(self, commit: str) -> None:
        """Both have a status."""
        if commit == self.synced:
            return
        revision = f"{self.branch}@sha1:{commit}"
        artifact = {
            "revision": revision,
            "digest": f"sha256:{'0' * 64}",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
            "path": f"gitrepository/{self.namespace}/{self.name}/{commit}.tar.gz",
            "url": f"http://source-controller/{commit}.tar.gz",
        }
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "ReconciliationSucceeded",
            "message": f"Applied revision: {revision}",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for resource, status in (
            (GIT_REPOSITORIES, {"artifact": artifact, "conditions": [ready]}),
            (
                KUSTOMIZATIONS,
                {"lastAppliedRevision": revision, "lastAttemptedRevision": revision, "conditions": [ready]},
            ),
        ):
            await self.api.patch(
                resource,
                self.name,
                {"status": status},
                namespace=self.namespace,
                subresource="status",
                manager=self.manager,
            )


def rendered(files: dict[str, str], path: str) -> list[Object]:
    """The manifests of a folder, in the order of its files; with a kustomization.yaml, as that says."""
    where = path.strip("/")
    inside = {name: text for name, text in files.items() if posixpath.dirname(name) == where}
    kustomization = inside.get(f"{where}/kustomization.yaml")
    if kustomization is None:
        texts = [text for name, text in sorted(inside.items()) if name.endswith((".yaml", ".yml"))]
        return [one for text in texts for one in yaml.safe_load_all(text) if one]
    said: dict[str, Any] = yaml.safe_load(kustomization)
    found: list[Object] = []
    for resource in said.get("resources") or ():
        place = posixpath.normpath(posixpath.join(where, resource))
        found += [one for one in yaml.safe_load_all(files[place]) if one] if place in files else rendered(files, place)
    for image in said.get("images") or ():
        for container in _containers(found):
            name, _, tag = str(container["image"]).rpartition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return found


def _containers(manifests: list[Object]) -> list[Object]:
    templates = [one["spec"]["template"] for one in manifests if one["kind"] == "Deployment"]
    return [container for template in templates for container in template["spec"]["containers"]]

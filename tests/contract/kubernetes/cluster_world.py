"""What a test of the API needs: the API, a namespace of its own, and objects to put there.

The real API is what KUBECONFIG names (STERNWAY_TEST_KUBECONFIG goes before it). Without one its tests are skipped,
loudly; in CI that is a failure.
"""

from __future__ import annotations

import asyncio
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sternway.errors import SternwayError
from sternway.kubernetes.access import find_access
from sternway.kubernetes.api import Api, Change, Object, Patch, Resource, Told, name_of
from sternway.kubernetes.client import Client
from sternway.kubernetes.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES

WAIT_S = 60.0
"""How long a busy machine may take to tell what it has to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An API and a namespace that is empty but for what every namespace has."""

    api: Api
    namespace: str

    def config(self, name: str = "settings", **more: Any) -> Object:
        """A ConfigMap."""
        return {"metadata": {"name": name, "namespace": self.namespace, **more.pop("metadata", {})}, **more}

    def deployment(self, name: str = "orders", **spec: Any) -> Object:
        """A Deployment of no replicas, so that no pod of it is in the way."""
        labels = {"app": name}
        container = {"name": name, "image": f"registry/{name}:1", "ports": [{"containerPort": 8080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        return {
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
        }

    def stateful_set(self, name: str = "orders", **spec: Any) -> Object:
        """A StatefulSet of no replicas."""
        made = self.deployment(name, **spec)
        made["spec"]["serviceName"] = f"{name}-pods"
        return made

    def daemon_set(self, name: str = "orders", **spec: Any) -> Object:
        """A DaemonSet that runs on whatever node there is."""
        made = self.deployment(name, **spec)
        del made["spec"]["replicas"]
        made["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
        return made

    async def now(self, resource: Resource) -> str:
        """From where a watch tells what comes next."""
        return (await self.api.list(resource, namespace=self.namespace)).resource_version

    async def told(self, resource: Resource, since: str, count: int, **selection: str) -> list[tuple[Change, str]]:
        """The first `count` changes since then, as (change, name), without bookmarks."""
        return [
            (told.change, told.object["metadata"]["name"])
            for told in await self.events(resource, since, count, **selection)
        ]

    async def events(self, resource: Resource, since: str, count: int, **selection: str) -> list[Told]:
        """The first `count` changes since then."""
        found: list[Told] = []
        watch: AsyncIterator[Told] = self.api.watch(resource, since=since, namespace=self.namespace, **selection)
        async with asyncio.timeout(WAIT_S), aclosing(watch):  # type: ignore[type-var] # every watch is a generator
            async for told in watch:
                if told.change is not Change.BOOKMARK:
                    found.append(told)
                if len(found) == count:
                    break
        return found

    async def until(self, resource: Resource, name: str, holds: Callable[[Object | None], bool]) -> Object | None:
        """Wait for an object to be as it is to be."""
        async with asyncio.timeout(WAIT_S):
            while not holds(found := await self.api.get(resource, name, self.namespace)):
                await asyncio.sleep(0.05)
        return found


def kubeconfig_for_tests() -> str:
    """The file that names the API for tests; skips the test where there is none."""
    named = os.environ.get("STERNWAY_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG", "")
    if not named:
        if os.environ.get("CI"):
            pytest.fail("CI has no Kubernetes API: set KUBECONFIG")
        warnings.warn("no real Kubernetes API was tested: set KUBECONFIG to a cluster for tests", stacklevel=1)
        pytest.skip("KUBECONFIG names no cluster for tests")
    return named


@asynccontextmanager
async def real_world() -> AsyncIterator[World]:
    """Give a namespace of its own in the real API."""
    async with Client(find_access(environment={"KUBECONFIG": kubeconfig_for_tests()})) as api:
        name = f"sternway-test-{uuid.uuid4().hex[:8]}"
        await api.create(NAMESPACES, {"metadata": {"name": name}})
        try:
            yield World(api=api, namespace=name)
        finally:
            await api.delete(NAMESPACES, name)


async def install_published(world: World, kinds: Collection[Resource]) -> None:
    """Install the published definitions of these kinds, from STERNWAY_TEST_CRDS, and wait until they are served."""
    wanted = {f"{one.plural}.{one.group}": one for one in kinds if not await world.api.serves(one)}
    folder = os.environ.get("STERNWAY_TEST_CRDS")
    if wanted and not folder:
        said = f"the cluster does not serve {', '.join(wanted)}"
        if os.environ.get("CI"):
            pytest.fail(f"{said}: set STERNWAY_TEST_CRDS")
        pytest.skip(said)
    for one in _definitions(Path(folder or ""), wanted) if wanted else ():
        await world.api.patch(CUSTOM_RESOURCE_DEFINITIONS, name_of(one), one, how=Patch.APPLY, force=True)
    async with asyncio.timeout(3 * WAIT_S):
        for kind in wanted.values():
            while not await listed(world, kind):
                await asyncio.sleep(0.2)


async def listed(world: World, kind: Resource) -> bool:
    """Whether objects of a kind can be listed: a group is served a moment after its first definition."""
    try:
        await world.api.list(kind, namespace=world.namespace)
    except SternwayError:
        return False
    return await world.api.serves(kind)


def _definitions(folder: Path, wanted: Collection[str]) -> list[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = [one for path in sorted(folder.rglob("*.yaml")) for one in yaml.load_all(path.read_text(), Loader=loader)]
    return [one for one in found if one and one["kind"] == "CustomResourceDefinition" and name_of(one) in wanted]

"""A service that Argo CD or Flux keeps as a real Git server says: the controllers are played, Git and the API are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cluster_world import WAIT_S, World, install_published
from operator_world import GUARD, Cluster, install, prometheus

from sternway.cluster import ClusterSternway, Settings
from sternway.control.status import ServiceStatus
from sternway.kubernetes.api import name_of
from sternway.kubernetes.resources import (
    APPLICATIONS,
    GIT_REPOSITORIES,
    GUARDS,
    KUSTOMIZATIONS,
)
from sternway.testing.git_server import GitServer
from sternway.testing.gitops import PlayedArgo, PlayedFlux, PlayedGitOps
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES

NEEDED = (VIRTUAL_SERVICES, DESTINATION_RULES, APPLICATIONS, KUSTOMIZATIONS, GIT_REPOSITORIES)
HURRIED = {"ask": {"timeout": "1s", "then": "rollback"}}
"""On a busy machine the judge may come to ask a person; nobody answers, and that takes the release back too."""
PLAYED: dict[str, type[PlayedGitOps]] = {"argo": PlayedArgo, "flux": PlayedFlux}


def deployment(name: str, image: str, *, replicas: str = "  replicas: 3\n") -> str:
    """A Deployment as a person writes it, with a comment of theirs."""
    return (
        f"# {name}: ask its team before you change it\n"
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n"
        f"spec:\n{replicas}  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n"
        f'      labels: {{app: {name}, sidecar.istio.io/inject: "true"}}\n'
        f"    spec:\n      containers:\n        - name: {name}\n          image: {image}  # by the pipeline\n"
        f"          ports: [{{containerPort: 8080, protocol: TCP}}]\n"
    )


def service(name: str) -> str:
    """Its Service. Who leaves the selector to Sternway takes it out of Git; here Git keeps it."""
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n"
        f"spec:\n  selector: {{app: {name}}}\n  ports: [{{name: http, port: 80, targetPort: 8080, protocol: TCP}}]\n"
    )


PLAIN = {
    "apps/orders.yaml": deployment("orders", "registry/orders:1") + "---\n" + service("orders"),
    "apps/stock.yaml": deployment("stock", "registry/stock:1", replicas="  replicas: 0\n"),
    "README.md": "The shop.\n",
}
KUSTOMIZED = {
    "base/orders.yaml": deployment("orders", "registry/orders:0") + "---\n" + service("orders"),
    "base/stock.yaml": deployment("stock", "registry/stock:0", replicas="  replicas: 0\n"),
    "base/kustomization.yaml": "resources:\n  - orders.yaml\n  - stock.yaml\n",
    "apps/kustomization.yaml": (
        "resources:\n  - ../base\nimages:\n"
        '  - name: registry/orders\n    newTag: "1"\n  - name: registry/stock\n    newTag: "1"\n'
    ),
}


class Shop(Cluster):
    """The service `orders`, which comes from the repository `shop`."""

    def __init__(self, world: World, folder: Path, server: GitServer, played: type[PlayedGitOps]) -> None:
        super().__init__(world, folder / "state")
        self.server = server
        self.access = folder / "access"
        self.access.mkdir()
        self.files = PLAIN
        self.gitops = played(api=world.api, server=server, repository="shop", namespace=world.namespace)
        server.create("shop")

    def let_in(self) -> None:
        """Make the Secret `sternway-git`, as the kubelet shows it."""
        (self.access / "credentials").write_text(f"# of the shop\n{self.server.credentials}")

    async def open(self) -> None:
        """Commit the manifests, let the controller bring them, and put a Guard beside them."""
        await self.gitops.install()
        self.commit(self.files, "First state")
        await self.gitops.sync()
        guard = {
            "apiVersion": GUARDS.api_version,
            "kind": GUARDS.kind,
            "metadata": {"name": "orders", "namespace": self.world.namespace},
            "spec": GUARD | HURRIED,
        }
        await self.world.api.create(GUARDS, guard)

    def commit(self, files: dict[str, str | None] | dict[str, str], message: str) -> str:
        """A person pushes to main."""
        return self.server.commit("shop", files, message)

    def text(self, path: str) -> str:
        """A file as it is on main."""
        return self.server.files("shop", self.server.head("shop"))[path]

    def settings(self, address: str) -> Settings:
        """How Sternway is told to run."""
        return Settings(
            state=self.state,
            git=self.access,
            namespaces=(self.world.namespace,),
            prometheus=address,
            mesh="istio",
        )

    @asynccontextmanager
    async def running(self, address: str) -> AsyncIterator[ClusterSternway]:
        """Sternway leads, the controller syncs, and the service was adopted."""
        self.sternway = sternway = ClusterSternway(self.settings(address), self.world.api)
        syncing = asyncio.create_task(self.gitops.run())
        try:
            await sternway.start()
            await sternway.lead()
            await self.until(lambda s: "stable" in s and s.get("phase") == "idle")
            async with asyncio.timeout(WAIT_S):
                while self.shares().get("orders-stable", 0.0) < 1.0:
                    await asyncio.sleep(0.1)
            yield sternway
        finally:
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
            await sternway.close()

    async def at_rest(self) -> None:
        """Wait until the user's pods are what Git says, and see that the twin has all traffic meanwhile and then."""
        async with asyncio.timeout(WAIT_S):
            while True:
                assert self.shares() == {"orders": 0.0, "orders-stable": 1.0}
                found = await self.deployment()
                wanted = {
                    "observedGeneration": found["metadata"]["generation"],
                    "readyReplicas": found["spec"]["replicas"],
                }
                status = found.get("status") or {}
                if {key: status.get(key, 0) for key in wanted} == wanted:
                    break
                await asyncio.sleep(0.05)
        for _ in range(20):
            assert self.shares() == {"orders": 0.0, "orders-stable": 1.0}
            await asyncio.sleep(0.05)

    async def sternway_status(self) -> ServiceStatus:
        """What Sternway says of the service."""
        assert self.sternway is not None
        return await self.sternway.status(self.key)

    async def rolled_back(self, number: int = 1) -> dict[str, object]:
        """Wait until a release was taken back and is over; its Release then."""
        name, status = f"orders-{number}", {}
        try:
            async with asyncio.timeout(100):
                while status.get("phase") != "rolled-back":
                    await asyncio.sleep(0.1)
                    found = next((one for one in await self.releases() if name_of(one) == name), None)
                    status = (found or {}).get("status") or {}
        except TimeoutError:
            assert self.sternway is not None
            said = f"{status} {self.shares()} {await self.sternway_status()} {self.sternway.troubles()}"
            raise AssertionError(said) from None
        async with asyncio.timeout(20):  # the routes are watched here too
            while self.shares() != {"orders": 0.0, "orders-stable": 1.0}:
                await asyncio.sleep(0.1)
        return dict(status)


@asynccontextmanager
async def shop(world: World, folder: Path, tool: str) -> AsyncIterator[tuple[Shop, str]]:
    """A cluster in which time passes and users call, and a Git server. Gives it, and the address of its Prometheus."""
    if isinstance(world.api, FakeKubernetes):
        api = FakeKubernetes(kinds=NEEDED, namespaces=(world.namespace,))
        world = World(api=api, namespace=world.namespace)
    else:
        await install(world)
        await install_published(world, NEEDED)
    with GitServer(folder / "git") as server:
        found = Shop(world, folder, server, PLAYED[tool])
        async with prometheus(found.users) as address:
            tasks = [asyncio.create_task(found.live()), asyncio.create_task(found.users.call())]
            try:
                yield found, address
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                let_go = {"metadata": {"finalizers": None}}  # nobody is there any more who would give things back
                await world.api.patch(GUARDS, "orders", let_go, namespace=world.namespace)

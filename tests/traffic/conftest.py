"""One Envoy per module, with a stable and a candidate replica behind it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import aiohttp
import pytest_asyncio
from mesh_world import MARK, AccessLog, Client, Upstream, until

from sternway.traffic.envoy import EnvoyRouter


class Mesh:
    """A router with its Envoy, and the client and upstreams to try it with."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.folder, self.client, self.log = folder, client, AccessLog()
        self.stable, self.candidate = Upstream("stable"), Upstream("candidate")
        self.router = self.new_router()

    def new_router(self) -> EnvoyRouter:
        """Make a router on this mesh's folders, as after a restart of Sternway."""
        return EnvoyRouter(
            state_dir=self.folder / "state", run_dir=self.folder / "run", servicers=[self.log.register], linger_s=0.3
        )

    def place(self, stable, candidate=None) -> None:
        """Tell the router where the replicas are."""
        self.router.set_endpoints(stable.workload.id, [self.stable.endpoint])
        if candidate is not None and candidate.workload != stable.workload:
            self.router.set_endpoints(candidate.workload.id, [self.candidate.endpoint])

    async def apply(self, plan) -> str:
        """Apply a plan and tell the service's address."""
        await self.router.apply(plan)
        return self.router.address(plan.service.name)

    async def proxy(self, caller: str) -> str:
        """Find the proxy of a caller's processes, once it listens."""
        url = self.router.environment(caller)["http_proxy"]
        host, port = url.removeprefix("http://").split(":")
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except OSError:
                    await asyncio.sleep(0.005)
                else:
                    writer.close()
                    return url

    async def logged(self) -> None:
        """Wait until all that was answered is in the log: Envoy has one worker, which logs in order."""
        address = self.router.address("orders")
        if address is None:
            return
        mark = f"{MARK}{len(self.log.marks)}"
        await self.client(address, mark)
        await until(lambda: mark in self.log.marks)

    def reset(self) -> None:
        """Replicas answer well and have seen nothing."""
        for upstream in (self.stable, self.candidate):
            upstream.status, upstream.delay_s, upstream.most_busy = 200, 0.0, 0
            upstream.requests.clear()
        self.log.entries.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh():
    """Run a mesh."""
    folder = Path(tempfile.mkdtemp(prefix="sw"))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        mesh = Mesh(folder, Client(session))
        await mesh.stable.start()
        await mesh.candidate.start()
        await mesh.router.start()
        try:
            yield mesh
        finally:
            await mesh.router.close(stop=True)
            await mesh.stable.stop()
            await mesh.candidate.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(shared_mesh):
    """Hand out the module's mesh, with replicas that answer well."""
    shared_mesh.reset()
    await shared_mesh.logged()
    shared_mesh.reset()
    return shared_mesh

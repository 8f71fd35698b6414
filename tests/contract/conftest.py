"""Every port's contract: the real adapter and the fake, each behind what a test needs to speak to both."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract_world import Kept, Routed, Running, version

from sternway.clock import SystemClock
from sternway.domain.images import ImageCommand, Images
from sternway.domain.mesh import MeshPolicy, RouteRule
from sternway.domain.traffic import Endpoint, TrafficPlan
from sternway.domain.versions import Workload
from sternway.history.git import GitHistory
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.errors import Invalid
from sternway.kubernetes.resources import SERVICES
from sternway.platforms.local import LocalPlatform
from sternway.ports import Snapshot
from sternway.testing.fakes import FakeClock, FakeHistory, FakePlatform, FakeRouter
from sternway.testing.kubernetes import FakeKubernetes, Fault
from sternway.traffic.envoy import EnvoyRouter
from sternway.traffic.kubernetes.registry import dialect, services_of
from sternway.traffic.kubernetes.router import KubernetesRouter

MESHES = ("istio", "gateway-api", "linkerd", "consul", "service")
SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose name leaves room for the names of sockets."""
    made = Path(tempfile.mkdtemp(prefix="sw-con-")).resolve()
    yield made
    shutil.rmtree(made, ignore_errors=True)


# TrafficRouter ------------------------------------------------------------------------------------------------------


def _impossible(plan: TrafficPlan) -> TrafficPlan:
    """Ask for what Envoy refuses: a request header that may not be set."""
    rules = (RouteRule(set_request_headers=((":path", "/evil"),)),)
    policy = MeshPolicy(rules=rules)
    versions = tuple(replace(one, policy=policy) for one in plan.versions)
    return replace(plan, versions=versions)


def _taken(api: FakeKubernetes, routes: tuple[Resource, ...]) -> None:
    """Play the mesh's controllers: they take every route as it stands."""
    for kind in routes:
        for obj in api.store.select(kind):
            said = {"status": "True", "observedGeneration": obj["metadata"]["generation"]}
            conditions = [{"type": name, **said} for name in ("Accepted", "Synced", "Reconciled")]
            status = {"conditions": conditions, "parents": [{"conditions": conditions}], **said}
            if obj.get("status") != status:
                api.store.replace(kind, {**obj, "status": status}, subresource="status")


def _in_a_cluster(mesh: str) -> Routed:
    """Give the router of a cluster, on the fake API, for a mesh that needs no route of a user."""
    by = dialect(mesh)
    api = FakeKubernetes(kinds=by.reads)
    if mesh == "service":
        for name in ("orders", "stock"):
            api.store.create(SERVICES, {"metadata": {"name": name, "namespace": "shop"}, "spec": {}})
    else:
        api.store.listeners.append(lambda: _taken(api, by.routes))

    class Everything:
        """Knows what there is at once."""

        def about(self, resource: Resource, service: str) -> list[Object]:
            return [obj for obj in api.store.select(resource) if service in services_of(obj)]

    def backends(service: str) -> Backends:
        name, _, namespace = service.partition(".")
        twin, pods = (
            Backend(
                workload_id=version(tag, service).workload.id,
                service=f"{name}-{role}",
                labels=((role, name),),
                replicas=1,
            )
            for tag, role in (("1.0.0", "stable"), ("1.1.0", "candidate"))
        )
        ports = (("http", 80, ""),)
        return Backends(namespace=namespace, service=name, deployment=name, ports=ports, stable=twin, candidate=pods)

    def refuse(plan: TrafficPlan) -> TrafficPlan:
        api.faults.append(Fault(verb="patch", error=lambda: Invalid("spec.http: an admission webhook says no")))
        return plan

    return Routed(
        KubernetesRouter(api, reader=Everything(), dialects=(by,), dialect=lambda _: by, backends=backends), refuse
    )


@pytest.fixture(params=["envoy", "fake", *MESHES])
async def routed(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Routed]:
    """Give a running router of each kind; everything has an endpoint."""
    if request.param in MESHES:
        yield _in_a_cluster(request.param)
        return
    if request.param == "fake":
        fake = FakeRouter()

        def refuse(plan: TrafficPlan) -> TrafficPlan:
            fake.refuse = 1
            return plan

        yield Routed(fake, refuse)
        return
    real = EnvoyRouter(state_dir=folder / "state", run_dir=folder / "run", linger_s=0.1)
    await real.start()
    for tag in ("1.0.0", "1.1.0"):
        for service in ("orders.shop", "stock.shop"):
            endpoint = Endpoint(address="127.0.0.1", port=9, replica=f"{service}-{tag}")
            real.set_endpoints(version(tag, service).workload.id, [endpoint])
    try:
        yield Routed(real, _impossible)
    finally:
        await real.close(stop=True)


# Platform -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "fake"])
async def running(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Running]:
    """Give a started platform of each kind."""

    def good(tag: str) -> Workload:
        return Workload(image=f"good:{tag}", port=8080, grace_s=2.0, service="orders")

    def broken(tag: str) -> Workload:
        return Workload(image=f"broken:{tag}", port=8080, grace_s=2.0, service="orders")

    if request.param == "fake":
        clock = FakeClock()
        fake = FakePlatform(clock=clock, broken={"broken:1.0.0": "it has no command"})
        yield Running(fake, good, broken, lambda: clock.sleep(0.1))
        return
    images = Images(
        commands=(
            ImageCommand(image="good", command=(sys.executable, "-c", SERVER, "{port}")),
            ImageCommand(image="broken", command=("/nowhere/program",)),
        )
    )
    woken: list[str] = []
    real = LocalPlatform(
        state_dir=folder / "state",
        clock=SystemClock(),
        images=lambda: images,
        publish=lambda _id, _endpoints: None,
        wake=woken.append,
        environment=lambda _service: {},
        secret=lambda _commit, key: asyncio.sleep(0, key.key),
        drain_s=0.05,
    )
    await real.start()
    try:
        yield Running(real, good, broken, lambda: None, woken)
    finally:
        await real.close(stop=True)


# History ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["git", "fake"])
async def kept(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """Give an open history of each kind, with one commit."""
    if request.param == "fake":
        yield _fake_history()
        return
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    shop, bare = folder / "shop", folder / "shop.git"

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        return subprocess.run(["git", *who, *arguments], cwd=shop, capture_output=True, text=True, check=True).stdout

    def commit(files: dict[str, str]) -> str:
        git("pull", "-q", "--rebase", "origin", "main")
        for name, text in files.items():
            (shop / name).write_text(text)
        git("add", "--all")
        git("commit", "-q", "-m", "Change")
        git("push", "-q", "origin", "main")
        return git("rev-parse", "HEAD").strip()

    shop.mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    git("clone", "-q", "--bare", ".", str(bare))
    git("remote", "add", "origin", str(bare))
    history = GitHistory(
        source=str(bare), branch=None, path="", state_dir=folder / "state", clock=SystemClock(), wake=lambda: None
    )
    await history.open()
    yield Kept(
        history, commit, lambda: bare.rename(folder / "away") and None, lambda: (folder / "away").rename(bare) and None
    )


def _fake_history() -> Kept:
    fake = FakeHistory()
    ids = (f"{number:040x}" for number in itertools.count(1))
    fake.snapshots.append(Snapshot(commit=next(ids), files=()))

    def commit(files: dict[str, str]) -> str:
        before = dict(fake.snapshots[-1].files)
        after = tuple(sorted({**before, **files}.items()))
        fake.snapshots.append(Snapshot(commit=next(ids), files=after))
        return fake.snapshots[-1].commit

    def down(value: bool) -> Callable[[], None]:
        return lambda: setattr(fake, "down", value)

    return Kept(fake, commit, down(True), down(False))

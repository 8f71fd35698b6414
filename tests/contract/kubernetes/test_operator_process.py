"""`sternway operator` as a process beside a real cluster: probes, leadership, a second replica, SIGTERM."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from cluster_world import World, kubeconfig_for_tests
from operator_world import Cluster, Patient, cluster

from free_ports import free_port
from sternway.kubernetes.api import Resource
from sternway.kubernetes.resources import GUARDS, LEASES, SECRETS
from sternway.operator.install import Installation, installation

pytestmark = pytest.mark.kubernetes


@asynccontextmanager
async def operator(
    here: Cluster, address: str, port: int, config: str = "", state: Path | None = None
) -> AsyncIterator[Process]:
    """A process of its own; ended at the end whatever happens. config: a kubeconfig, other than that of the tests."""
    command = [sys.executable, "-m", "sternway.cli", "operator", "--namespace", here.world.namespace]
    command += ["--listen", f"127.0.0.1:{port}", "--lease", here.world.namespace, "--state", str(state or here.state)]
    command += ["--prometheus", address, "--mesh", "istio", "--access-log", "127.0.0.1:0"]
    environment = {**os.environ, "KUBECONFIG": config or kubeconfig_for_tests()}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(port: int, path: str) -> int:
    """The status of a probe; 0 while nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as found:
            return found.status
    except aiohttp.ClientError:
        return 0


async def leads(port: int) -> bool:
    """What a process exports of itself."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as found:
        lines = (await found.text()).splitlines()
    assert any(line.startswith('sternway_kubernetes_requests_total{code="200"') for line in lines), lines
    return "sternway_kubernetes_leader 1.0" in lines


async def until_ready(port: int) -> None:
    """Wait for the readiness probe."""
    async with asyncio.timeout(60):
        while await answers(port, "/readyz") != 200:
            await asyncio.sleep(0.1)


async def test_it_leads_answers_its_probes_and_stops_when_it_is_told(real: World, tmp_path: Path) -> None:
    """Ready once it knows the cluster; a second one stands by and takes over when the first is told to stop."""
    async with cluster(real, tmp_path / "state") as (here, address):
        first, second = free_port(), free_port()
        async with operator(here, address, first) as one:
            await until_ready(first)
            assert await answers(first, "/healthz") == 200
            await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
            async with operator(here, address, second) as other:
                await until_ready(second)
                assert [await leads(port) for port in (first, second)] == [True, False]
                lease = await real.api.get(LEASES, "sternway", real.namespace)
                assert lease is not None
                held = lease["spec"]["holderIdentity"]
                one.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(one.wait(), 60) == 0
                async with asyncio.timeout(60):
                    while held == lease["spec"]["holderIdentity"] or not lease["spec"]["holderIdentity"]:
                        await asyncio.sleep(0.1)
                        lease = await real.api.get(LEASES, "sternway", real.namespace)
                        assert lease is not None
                here.users.bad["orders"] = 0.5
                await here.image("orders:2")
                await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
                await here.settled("orders:1")
                other.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(other.wait(), 60) == 0


@pytest.mark.parametrize(
    ("phase", "lost"),
    [("exposed", True), ("taken away", False)],
    ids=["exposed, volume lost", "taken away, volume kept"],
)
async def test_who_stands_by_finishes_what_a_killed_leader_began(
    real: World, tmp_path: Path, phase: str, *, lost: bool, record_property: Callable[[str, object], None]
) -> None:
    """A SIGKILL while a bad version has users, and when the traffic is back and the Deployment is not restored yet."""
    async with cluster(real, tmp_path / "state", Patient) as (here, address):
        first, second = free_port(), free_port()
        async with operator(here, address, first) as one:
            await until_ready(first)
            await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
            lease = await real.api.get(LEASES, "sternway", real.namespace)
            assert lease is not None
            held = lease["spec"]["holderIdentity"]
            async with operator(here, address, second, state=tmp_path / "other" if lost else None) as other:
                await until_ready(second)
                await here.image("orders:2")
                await here.until(lambda s: s.get("phase") == "exposed")
                if phase == "taken away":
                    here.users.bad["orders"] = 0.5
                    await until_back(here)
                one.kill()
                await one.wait()
                began_s = time.monotonic()
                here.users.bad["orders"] = 0.5
                async with asyncio.timeout(60):
                    while held == lease["spec"]["holderIdentity"]:
                        await asyncio.sleep(0.1)
                        lease = await real.api.get(LEASES, "sternway", real.namespace)
                        assert lease is not None
                record_property("taken_over_after_s", round(time.monotonic() - began_s, 1))
                await until_back(here)
                record_property("traffic_back_after_s", round(time.monotonic() - began_s, 1))
                await here.settled("orders:1")
                release, *others = await here.releases()
                assert (release["status"]["phase"], others) == ("rolled-back", [])
                other.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(other.wait(), 60) == 0


async def until_back(here: Cluster) -> None:
    """Wait until the twin has all traffic."""
    async with asyncio.timeout(60):
        while here.shares()["orders-stable"] < 1.0:
            await asyncio.sleep(0.05)


async def as_installed(here: Cluster, folder: Path) -> str:
    """Give what `sternway install --watch NAMESPACE` gives: a service account with its rights. Returns its kubeconfig."""
    api, space = here.world.api, here.world.namespace
    for one in installation(Installation(namespace=space, watches=(space,))):
        group, _, version = one["apiVersion"].rpartition("/")
        if one["kind"] in ("ServiceAccount", "Role", "RoleBinding"):
            plural = f"{one['kind'].lower()}s"
            await api.create(Resource(group=group, version=version, plural=plural, kind=one["kind"]), one)
    told = {"kubernetes.io/service-account.name": "sternway"}
    secret = {"metadata": {"name": "token", "namespace": space, "annotations": told}}
    await api.create(SECRETS, {**secret, "type": "kubernetes.io/service-account-token"})
    token = ""
    async with asyncio.timeout(30):
        while not token:
            found = await api.get(SECRETS, "token", space)
            token = ((found or {}).get("data") or {}).get("token", "")
            await asyncio.sleep(0.1)
    known = yaml.safe_load(Path(kubeconfig_for_tests()).read_text())  # noqa: ASYNC240  a small file, once
    current = next(one for one in known["contexts"] if one["name"] == known["current-context"])
    user = {"name": "sternway", "user": {"token": base64.b64decode(token).decode()}}
    context = {"name": "sternway", "context": {"cluster": current["context"]["cluster"], "user": "sternway"}}
    config = {**known, "users": [user], "contexts": [context], "current-context": "sternway"}
    file = folder / "sternway.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return str(file)


async def test_the_rights_of_the_installation_are_enough(real: World, tmp_path: Path) -> None:
    """With the Role that `sternway install` writes, and no other right, a service is adopted and a bad version taken back."""
    async with cluster(real, tmp_path / "state") as (here, address):
        port = free_port()
        async with operator(here, address, port, await as_installed(here, tmp_path)):
            await until_ready(port)
            await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
            here.users.bad["orders"] = 0.5
            await here.image("orders:2")
            await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
            await here.settled("orders:1")
            await real.api.delete(GUARDS, "orders", real.namespace)
            async with asyncio.timeout(60):
                while await real.api.get(GUARDS, "orders", real.namespace) is not None:
                    await asyncio.sleep(0.1)

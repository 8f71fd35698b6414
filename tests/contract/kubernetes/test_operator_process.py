"""`sternway operator` as a process beside a real cluster: probes, leadership, a second replica, SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cluster_world import World, kubeconfig_for_tests
from operator_world import Cluster, cluster

from sternway.kubernetes.resources import LEASES

pytestmark = pytest.mark.kubernetes


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def operator(here: Cluster, address: str, port: int, *more: str) -> AsyncIterator[Process]:
    """A process of its own; ended at the end whatever happens."""
    command = [sys.executable, "-m", "sternway.cli", "operator", "--namespace", here.world.namespace]
    command += ["--listen", f"127.0.0.1:{port}", "--lease", here.world.namespace, "--state", str(here.state)]
    command += ["--prometheus", address, "--mesh", "istio", *more]
    environment = {**os.environ, "KUBECONFIG": kubeconfig_for_tests()}
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
                await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", 100)
                await here.settled("orders:1")
                other.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(other.wait(), 60) == 0

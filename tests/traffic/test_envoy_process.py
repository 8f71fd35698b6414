"""Envoy's own process: it outlives Sternway, its log stays small, its streams are real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from mesh_world import Client, Upstream, answers, plan, until, version

from sternway.domain.mesh import MeshPolicy
from sternway.domain.traffic import Endpoint
from sternway.errors import NotApplied
from sternway.traffic.envoy import EnvoyRouter

STERNWAY = """
import asyncio, sys
from pathlib import Path
from mesh_world import plan, version
from sternway.domain.traffic import Endpoint
from sternway.traffic.envoy import EnvoyRouter

async def main():
    router = EnvoyRouter(state_dir=Path(sys.argv[1]) / "s", run_dir=Path(sys.argv[1]) / "r")
    await router.start()
    wanted = version("1.0.0")
    router.set_endpoints(wanted.workload.id, [Endpoint(address="127.0.0.1", port=int(sys.argv[2]), replica="a")])
    await router.apply(plan(wanted))
    print(router.address("orders"), router.process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def folder():
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="sw") as name:
        yield Path(name)


@pytest.fixture
async def upstream():
    """One replica."""
    found = Upstream("stable")
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def client():
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield Client(session)


async def test_envoy_serves_on_when_sternway_is_killed_and_is_taken_over(folder, upstream, client):
    """SIGKILL to the program that started Envoy: requests go on; the next one finds the same process."""
    command = [sys.executable, "-c", STERNWAY, str(folder), str(upstream.port)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    program = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    assert program.stdout is not None
    address, pid = (await asyncio.wait_for(program.stdout.readline(), 60)).decode().split()
    try:
        program.send_signal(signal.SIGKILL)
        await program.wait()
        assert await client.many(20, address) == {(200, "stable"): 20}
    finally:
        router = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
        await router.start(resume={"orders"})
        wanted = version("1.0.0")
        router.set_endpoints(wanted.workload.id, [upstream.endpoint])
        await router.apply(plan(wanted))
        adopted, again = router.process.pid, router.address("orders")
        answer = await client(address)
        # Envoy dies while it is not our child: noticed all the same, and another one is started.
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: router.process.pid not in (None, int(pid)))
        await until(lambda: router.observe("orders"))
        await answers(client, address)
        later = await client(address)
        await router.close(stop=True)
    assert (adopted, again, answer, later) == (int(pid), address, (200, "stable"), (200, "stable"))


async def test_a_port_that_was_taken_while_envoy_was_down_is_named(folder, upstream, monkeypatch):
    """The remembered port belongs to somebody else after a restart: NotApplied tells Envoy's words, and what to do."""
    wanted = version("1.0.0")
    first = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
    await first.start()
    first.set_endpoints(wanted.workload.id, [upstream.endpoint])
    await first.apply(plan(wanted))
    port = int(first.address("orders").split(":")[1])
    await first.close(stop=True)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        second = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
        await second.start()
        second.set_endpoints(wanted.workload.id, [upstream.endpoint])
        await until(lambda: second.connected)
        monkeypatch.setattr("sternway.traffic.envoy.router._APPLY_S", 3.0)
        with pytest.raises(
            NotApplied, match=rf"inbound/orders.*127\.0\.0\.1:{port}.*[Aa]ddress already in use"
        ) as told:
            await second.apply(plan(wanted))
        assert "Another program on this machine has that port" in told.value.hint
    monkeypatch.undo()
    await second.apply(plan(wanted))
    await second.close(stop=True)


async def test_a_long_log_is_cut_and_its_end_is_kept(folder):
    """Over two megabytes the log begins anew; the old end stays beside it."""
    router = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
    (folder / "s").mkdir()
    router.process.log.write_bytes(b"x" * 3_000_000 + b"the end\n")
    await router.start()
    await router.close(stop=True)
    assert router.process.log.stat().st_size < 100_000
    kept = router.process.log.with_suffix(".old.log").read_bytes()
    assert kept.endswith(b"the end\n")
    assert len(kept) == 2_000_000


async def test_websockets_pass_and_outlive_the_time_out_of_requests(folder):
    """An upgraded connection carries messages both ways for longer than the version's time-out."""

    async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(message.data + "!")
        return answer

    runner = web.ServerRunner(web.Server(echo), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    wanted = version("1.0.0", policy=MeshPolicy(timeout_ms=200))
    router = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
    await router.start()
    port = runner.addresses[0][1]
    router.set_endpoints(wanted.workload.id, [Endpoint(address="127.0.0.1", port=port, replica="a")])
    await router.apply(plan(wanted))
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{router.address('orders')}/") as channel,
        ):
            for text in ("one", "two", "three"):
                await channel.send_str(text)
                assert (await asyncio.wait_for(channel.receive_str(), 30)) == f"{text}!"
                await asyncio.sleep(0.15)
    finally:
        await router.close(stop=True)
        await runner.cleanup()


async def test_an_idle_envoy_and_its_control_plane_cost_next_to_nothing(folder, upstream):
    """With five services at rest, our own part takes far under a tenth of a core; `make bench` holds the promise."""
    router = EnvoyRouter(state_dir=folder / "s", run_dir=folder / "r")
    await router.start()
    for number in range(5):
        wanted = version("1.0.0", service=f"service-{number}")
        router.set_endpoints(wanted.workload.id, [upstream.endpoint])
        router.environment(wanted.service)
        await router.apply(plan(wanted))
    await asyncio.sleep(0.5)
    own, spent = psutil.Process(), []
    for _ in range(3):  # the least of it is ours: a collection of the garbage of other tests is not
        before = sum(own.cpu_times()[:2])
        await asyncio.sleep(1)
        spent.append(sum(own.cpu_times()[:2]) - before)
    await router.close(stop=True)
    assert min(spent) < 0.1

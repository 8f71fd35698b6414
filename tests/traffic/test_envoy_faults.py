"""What happens when Envoy, the control plane or a configuration fails."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import psutil
import pytest
from mesh_world import Load, answers, between, plan, until, version

from sternway.domain.mesh import MeshPolicy, OutlierDetection, RouteRule
from sternway.domain.traffic import Pin
from sternway.errors import InvalidInput, NotApplied, Refused
from sternway.traffic.envoy import EnvoyRouter
from sternway.traffic.envoy.ads import AdsServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1, V2 = version("1.0.0"), version("1.1.0")
STOCK = version("1.0.0", service="stock")


async def by_name(mesh, name: str):
    """Send a request through the mesh by a service's name."""
    proxy = await mesh.proxy("web")
    async with mesh.client.session.get(f"http://{name}/", proxy=proxy) as response:
        return response.status, await response.text()


async def test_a_plan_that_envoy_refuses_is_told_in_envoys_words_and_changes_nothing(mesh):
    """An impossible header name: NotApplied with Envoy's text; traffic, record and other services stay."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2))
    mesh.router.environment("web")
    good = await mesh.router.observe("orders")
    rules = (RouteRule(set_request_headers=((":path", "/evil"),)),)
    bad = version("1.1.0", policy=MeshPolicy(rules=rules))

    for wanted in (plan(V1, bad, split=between(V1, bad, 50)), plan(bad)):
        with pytest.raises(NotApplied, match=r"Envoy refused service/orders: .*may not be modified") as refused:
            await mesh.router.apply(wanted)
        assert refused.value.hint
        assert await mesh.router.observe("orders") == good
        assert mesh.router.rejections == {}
        assert await mesh.client.many(20, address) == {(200, "stable"): 20}
        assert await by_name(mesh, "orders") == (200, "stable")

    mesh.router.set_endpoints(STOCK.workload.id, [mesh.candidate.endpoint])
    await mesh.router.apply(plan(STOCK))
    assert await by_name(mesh, "stock") == (200, "candidate")
    await mesh.router.apply(plan(V1, V2, split=between(V1, V2, 100)))
    assert await mesh.client(address) == (200, "candidate")


async def test_a_refused_first_plan_leaves_nothing(mesh):
    """A new service whose plan Envoy refuses has no plan, and can be applied once it is corrected."""
    bad = version(
        "1.0.0", service="fresh", policy=MeshPolicy(rules=(RouteRule(set_request_headers=((":path", "x"),)),))
    )
    good = version("1.0.0", service="fresh")
    mesh.router.set_endpoints(good.workload.id, [mesh.stable.endpoint])
    with pytest.raises(NotApplied):
        await mesh.router.apply(plan(bad))
    assert await mesh.router.observe("fresh") is None
    address = await mesh.apply(plan(good))
    assert await mesh.client(address) == (200, "stable")


async def test_a_refused_cluster_is_told_and_stands_in_nobodys_way(mesh):
    """A mesh policy that Envoy finds invalid: its words, and afterwards every other plan is taken."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2))
    good = await mesh.router.observe("orders")
    policy = MeshPolicy(outlier_detection=OutlierDetection(max_ejection_percent=500))
    bad = version("1.1.0", policy=policy)
    with pytest.raises(NotApplied, match=r"Envoy refused orders\|\S+: Proto .*MaxEjectionPercent.*100\)\n"):
        await mesh.router.apply(plan(V1, bad, split=between(V1, bad, 50)))
    assert await mesh.router.observe("orders") == good
    assert mesh.router.rejections == {}
    await mesh.router.apply(plan(V1, V2, split=between(V1, V2, 100)))
    assert await mesh.client(address) == (200, "candidate")


async def test_many_services_are_applied_at_the_same_time(mesh):
    """Twelve first plans at once, one of them refused: eleven hold and answer by name and by port."""
    bad = MeshPolicy(rules=(RouteRule(set_request_headers=((":path", "x"),)),))
    versions = [version("1", service=f"many-{n}", policy=bad if n == 5 else MeshPolicy()) for n in range(12)]
    for each in versions:
        mesh.router.set_endpoints(each.workload.id, [mesh.stable.endpoint])
    results = await asyncio.gather(*(mesh.router.apply(plan(each)) for each in versions), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, NotApplied)] == [5]
    for n in set(range(12)) - {5}:
        assert results[n] is None
        assert await mesh.client(mesh.router.address(f"many-{n}")) == (200, "stable")
        assert await by_name(mesh, f"many-{n}") == (200, "stable")
    assert (await by_name(mesh, "many-5"))[0] == 502


async def test_a_plan_with_an_impossible_pin_is_refused_too(mesh):
    """A header name with a space."""
    mesh.place(V1, V2)
    await mesh.router.apply(plan(V1, V2))
    with pytest.raises(NotApplied):
        await mesh.router.apply(plan(V1, V2, pins=(Pin(version=V2.id, header=("x\x00y", "1")),)))


async def test_a_killed_envoy_is_back_with_its_configuration(mesh, monkeypatch):
    """SIGKILL: a new process answers by the last plan; the record is empty in between."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2, split=between(V1, V2, 100)))
    pid = mesh.router.process.pid

    with monkeypatch.context() as gap:
        gap.setenv("STERNWAY_ENVOY", "/nowhere/envoy")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not mesh.router.connected)
        assert await mesh.router.observe("orders") is None
    await until(lambda: mesh.router.connected)
    await until(lambda: mesh.router.observe("orders"))
    await answers(mesh.client, address)

    assert await mesh.client.many(10, address) == {(200, "candidate"): 10}
    assert mesh.router.process.pid not in (None, pid)
    assert "started again" in mesh.router.process.failure


async def test_a_plan_applied_while_envoy_is_down_is_in_force_when_it_is_back(mesh, monkeypatch):
    """A rollback is not lost in the gap: apply waits for the new Envoy."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2, split=between(V1, V2, 100)))
    monkeypatch.setattr("sternway.traffic.envoy.router._APPLY_S", 60.0)
    with monkeypatch.context() as gap:
        gap.setenv("STERNWAY_ENVOY", "/nowhere/envoy")
        os.kill(mesh.router.process.pid, signal.SIGKILL)
        await until(lambda: not mesh.router.connected)
        applying = asyncio.create_task(mesh.router.apply(plan(V1, V2)))
        await asyncio.sleep(0)

    await applying
    await answers(mesh.client, address)
    assert await mesh.client.many(10, address) == {(200, "stable"): 10}


async def test_an_envoy_that_hangs_is_reported_in_time_and_takes_the_plan_later(mesh, monkeypatch):
    """A stopped process: NotApplied after the time-out, the old plan on record; continued, the new one holds."""
    mesh.place(V1, V2)
    before, after = plan(V1, V2), plan(V1, V2, split=between(V1, V2, 100))
    address = await mesh.apply(before)
    monkeypatch.setattr("sternway.traffic.envoy.router._APPLY_S", 0.3)
    os.kill(mesh.router.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(NotApplied, match="has not acknowledged service/orders"):
            await mesh.router.apply(after)
        assert await mesh.router.observe("orders") == before
    finally:
        os.kill(mesh.router.process.pid, signal.SIGCONT)

    async def taken() -> bool:
        return await mesh.router.observe("orders") == after

    await until(taken)
    assert await mesh.client(address) == (200, "candidate")


async def test_a_restart_of_the_control_plane_is_not_noticed_by_callers(mesh):
    """Sternway goes, comes back knowing nothing, and states its plans one by one: no bad answer, same Envoy."""
    mesh.place(V1, V2)
    mesh.router.set_endpoints(STOCK.workload.id, [mesh.candidate.endpoint])
    orders, stock = plan(V1, V2, split=between(V1, V2, 50)), plan(STOCK)
    address = await mesh.apply(orders)
    await mesh.apply(stock)
    proxy = await mesh.proxy("web")
    await asyncio.sleep(0.4)  # unused clusters are gone
    pid = mesh.router.process.pid
    async with (
        Load(mesh.client, address, rate=150) as outside,
        Load(mesh.client, "stock", rate=150, proxy=proxy) as inside,
    ):
        await asyncio.sleep(0.1)
        await mesh.router.close(stop=False)
        await asyncio.sleep(0.2)
        mesh.router = mesh.new_router()
        await mesh.router.start(resume={"orders", "stock"})
        await until(lambda: mesh.router.connected)
        await asyncio.sleep(0.3)
        await mesh.router.apply(orders)
        assert await mesh.router.observe("orders") == orders
        await asyncio.sleep(0.3)
        await mesh.router.apply(stock)
        mesh.place(V1, V2)
        mesh.router.set_endpoints(STOCK.workload.id, [mesh.candidate.endpoint])
        await asyncio.sleep(0.3)
        assert mesh.router.environment("web")["http_proxy"] == proxy
        await mesh.router.apply(plan(V1, V2))
        await asyncio.sleep(0.2)
    assert mesh.router.process.pid == pid
    assert outside.failures == []
    assert inside.failures == []
    assert len(inside.answers) > 100
    assert {body for _, _, body in inside.answers} == {"candidate"}
    assert await mesh.client.many(20, address) == {(200, "stable"): 20}


async def test_what_nobody_states_after_a_restart_is_removed(mesh):
    """A service that is gone from Git while Sternway was down: its clusters and its port go after the resume."""
    old = version("1.0.0", service="old")
    mesh.place(V1)
    mesh.router.set_endpoints(old.workload.id, [mesh.stable.endpoint])
    await mesh.apply(plan(V1))
    address = await mesh.apply(plan(old))
    await mesh.router.close(stop=False)
    mesh.router = mesh.new_router()
    await mesh.router.start(resume={"orders"})
    mesh.place(V1)
    await until(lambda: mesh.router.connected)
    assert await mesh.client(address) == (200, "stable")

    await mesh.router.apply(plan(V1))

    async def gone() -> bool:
        names = [c["name"] for c in (await mesh.router.process.ask("/clusters?format=json"))["cluster_statuses"]]
        return not [name for name in names if name.startswith("old|")]

    await until(gone)
    assert await mesh.client(mesh.router.address("orders")) == (200, "stable")


async def test_envoy_ends_when_it_shall_and_not_before(tmp_path):
    """close(stop=False) leaves the process, which a second router takes over; close(stop=True) ends it."""
    with tempfile.TemporaryDirectory(prefix="sw") as run:
        first = EnvoyRouter(state_dir=tmp_path, run_dir=Path(run) / "r")
        await first.start()
        pid = first.process.pid
        await until(lambda: first.connected)
        await first.close(stop=False)
        assert psutil.pid_exists(pid)
        second = EnvoyRouter(state_dir=tmp_path, run_dir=Path(run) / "r")
        await second.start()
        assert (second.process.pid, second.process.starts) == (pid, 0)
        await until(lambda: second.connected)
        assert (Path(run) / "r" / "admin.sock").stat().st_mode & 0o777 == 0o600
        await second.close(stop=True)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_an_envoy_program_that_is_not_there_is_a_clear_error(tmp_path, monkeypatch):
    """STERNWAY_ENVOY names nothing: Refused, with the variable in the hint."""
    monkeypatch.setenv("STERNWAY_ENVOY", str(tmp_path / "no-such-envoy"))
    router = EnvoyRouter(state_dir=tmp_path / "s", run_dir=tmp_path / "r")
    if len(str(tmp_path)) > 80:
        pytest.skip("the test folder's path is too long for a socket")
    with pytest.raises(Refused, match="no-such-envoy") as refused:
        await router.start()
    await router.close(stop=True)
    assert "STERNWAY_ENVOY" in refused.value.hint


async def test_an_envoy_that_ends_at_once_is_told_with_its_status_and_its_log(tmp_path, monkeypatch):
    """STERNWAY_ENVOY names a program that is no Envoy: why none is connected is known, and shown."""
    program = tmp_path / "envoy"
    program.write_text("#!/bin/sh\necho this is no Envoy >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("STERNWAY_ENVOY", str(program))
    with tempfile.TemporaryDirectory() as run:
        router = EnvoyRouter(state_dir=tmp_path / "s", run_dir=Path(run) / "r")
        await router.start()
        await until(lambda: router.trouble)
        told = router.trouble
        await router.close(stop=True)
    assert told.startswith("Envoy ended with status 7")
    assert str(tmp_path / "s" / "envoy.log") in told
    assert told.endswith("this is no Envoy")


async def test_a_folder_too_long_for_a_socket_is_a_clear_error(tmp_path):
    """The limit of the system's sockets is told, with the path."""
    router = EnvoyRouter(state_dir=tmp_path, run_dir=tmp_path / ("x" * 100))
    with pytest.raises(InvalidInput, match="shorter folder"):
        await router.start()


async def test_a_ports_file_of_somebody_else_is_refused(tmp_path):
    """Not JSON of ours: the file is named and nothing is started."""
    (tmp_path / "ports.json").write_text("[1, 2]")
    router = EnvoyRouter(state_dir=tmp_path, run_dir=tmp_path / "r")
    with pytest.raises(Refused, match=r"ports\.json"):
        await router.start()
    assert AdsServer(tmp_path / "x").connected is False

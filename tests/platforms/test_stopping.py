"""Scaling, replacing and stopping: discovery first, then drain, SIGTERM, grace, SIGKILL."""

import asyncio
import os
import signal
import time

import pytest
from local_world import World, alive, get, replica_of, run, state_of, until

from sternway.domain.versions import Probe
from sternway.platforms.local import LocalPlatform
from sternway.platforms.local.crashes import Crashes


async def test_scaling_keeps_the_oldest_replicas(world: World, platform: LocalPlatform) -> None:
    """Scaling up adds replicas to those that run; scaling down takes the newest first."""
    web = world.app()
    await platform.apply("web", [run(web, 1)])
    (oldest,) = await world.ready(web, 1)
    await platform.apply("web", [run(web, 3)])
    assert oldest in await world.ready(web, 3)
    await platform.apply("web", [run(web, 1)])
    assert await world.ready(web, 1) == (oldest,)
    await until(lambda: len(list((world.state_dir / "replicas").iterdir())) == 1, "one record")
    assert (await state_of(platform, "web", web)).desired == 1


async def test_scaling_down_takes_what_does_not_work_first(world: World, platform: LocalPlatform) -> None:
    """A replica that is not ready goes before a newer one that is."""
    web = world.app(readiness=Probe(http_path="/ready", period_s=0.1, timeout_s=1.0, failure_threshold=3))
    await platform.apply("web", [run(web, 1)])
    (old,) = await world.ready(web, 1)
    await platform.apply("web", [run(web, 2)])
    (newer,) = set(await world.ready(web, 2)) - {old}
    pid = (await state_of(platform, "web", web)).replicas[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert await world.ready(web, 1) == (newer,)
    await platform.apply("web", [run(web, 1)])
    os.kill(pid, signal.SIGCONT)
    await until(lambda: not alive(pid), "the older replica to be gone")
    assert world.endpoints(web) == (newer,)


async def test_apply_is_idempotent(world: World, platform: LocalPlatform) -> None:
    """Applying the same again, also while replicas start, starts and stops nothing."""
    web = world.app("--slow-start", "0.2")
    for _ in range(3):
        await platform.apply("web", [run(web, 2)])
    endpoints = await world.ready(web, 2)
    for _ in range(3):
        await platform.apply("web", [run(web, 2)])
    await asyncio.sleep(0.3)
    assert world.endpoints(web) == endpoints
    assert len(list((world.state_dir / "replicas").iterdir())) == 2


async def test_a_replica_leaves_discovery_and_drains_before_sigterm(world: World) -> None:
    """Between its last publication and SIGTERM lies the drain time, and it answers requests in between."""
    platform = world.platform(drain_s=5.0)
    await platform.start()
    web = world.app()
    await platform.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    await platform.apply("web", [])
    removed_s, _, endpoints = world.published[-1]
    assert endpoints == ()
    assert (await state_of(platform, "web", web)).replicas[0].phase == "stopping"
    assert (await get(endpoint.port))["pid"]
    mark = world.flags / f"sigterm-{endpoint.replica}"
    await until(lambda: mark.exists() and mark.read_text() != "", "SIGTERM")
    assert float(mark.read_text()) - removed_s >= 5.0
    await until(lambda: platform.services() == (), "the service to be gone")
    assert await platform.describe("web") == ()


async def test_a_replica_that_ignores_sigterm_is_killed_after_its_grace(world: World, platform: LocalPlatform) -> None:
    """SIGTERM comes first; when the grace period has passed, SIGKILL ends it."""
    web = world.app("--ignore-sigterm", grace_s=3.0)
    await platform.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    pid = (await state_of(platform, "web", web)).replicas[0].pid
    removed_s = time.monotonic()
    await platform.apply("web", [])
    await until(lambda: platform.services() == (), "the replica to be gone")
    assert time.monotonic() - removed_s >= 3.0
    assert (world.flags / f"sigterm-{endpoint.replica}").exists()
    assert not alive(pid)


async def test_children_of_a_replica_do_not_outlive_it(world: World, platform: LocalPlatform) -> None:
    """What a replica started in its group is gone with it, after a stop."""
    web = world.app("--child")
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    child = int((world.flags / "child").read_text())
    assert alive(child)
    await platform.apply("web", [])
    await until(lambda: not alive(child), "the child to be gone")


async def test_another_workload_replaces_one_without_touching_a_third(world: World, platform: LocalPlatform) -> None:
    """Exactly the named workloads run: the others of the service stop, other services are left alone."""
    old, new, other = world.app(), world.app("new"), world.app("other")
    await platform.apply("web", [run(old)])
    await platform.apply("shop", [run(other)])
    await world.ready(old, 1)
    untouched = await world.ready(other, 1)
    await platform.apply("web", [run(new)])
    await world.ready(new, 1)
    await world.ready(old, 0)
    assert world.endpoints(other) == untouched


async def test_a_workload_that_is_wanted_again_while_it_stops_gets_new_replicas(world: World) -> None:
    """What is on its way out stays on its way; a new replica takes over, and one record is left."""
    platform = world.platform(drain_s=5.0)
    await platform.start()
    web = world.app()
    await platform.apply("web", [run(web)])
    (old,) = await world.ready(web, 1)
    await platform.apply("web", [])
    await platform.apply("web", [run(web)])
    phases = {replica.name: replica.phase for replica in (await state_of(platform, "web", web)).replicas}
    (new,) = await world.ready(web, 1)
    assert phases == {old.replica: "stopping", new.replica: "starting"}
    await until(lambda: len(list((world.state_dir / "replicas").iterdir())) == 1, "the old record to be removed")
    assert world.endpoints(web) == (new,)
    await platform.close(stop=True)


async def test_equal_workloads_of_two_services_do_not_overwrite_each_other(
    world: World, platform: LocalPlatform
) -> None:
    """Both services' replicas stand under the shared workload id; stopping one service leaves the other's."""
    web = world.app()
    await platform.apply("one", [run(web)])
    await platform.apply("two", [run(web)])
    names = {endpoint.replica.split("-")[0] for endpoint in await world.ready(web, 2)}
    assert names == {"one", "two"}
    await platform.apply("one", [])
    (left,) = await world.ready(web, 1)
    assert left.replica.startswith("two-")


async def test_what_cannot_start_can_still_be_stopped(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crashed workload that is no longer wanted goes at once, in the middle of its back-off."""
    monkeypatch.setattr(Crashes, "back_off_s", lambda _: 3600.0)
    web = world.app("--exit", "1")
    await platform.apply("web", [run(web)])
    await until(lambda: bool(world.woken), "the crash to be told")
    assert (await replica_of(platform, "web", web)).phase == "crashed"
    await platform.apply("web", [])
    await until(lambda: platform.services() == (), "the service to be gone")
    assert list((world.state_dir / "replicas").iterdir()) == []


async def test_closing_stops_everything_when_asked(world: World) -> None:
    """close(stop=True) ends every replica gracefully and leaves no record."""
    platform = world.platform()
    await platform.start()
    web = world.app()
    await platform.apply("web", [run(web, 2)])
    await world.ready(web, 2)
    pids = [replica.pid for replica in (await state_of(platform, "web", web)).replicas]
    await platform.close(stop=True)
    assert not any(alive(pid) for pid in pids)
    assert len(list(world.flags.glob("sigterm-*"))) == 2
    assert list((world.state_dir / "replicas").iterdir()) == []
    assert world.endpoints(web) == ()

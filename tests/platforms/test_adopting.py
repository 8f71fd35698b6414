"""Sternway is lost and comes back: replicas run on, and the next platform finds every one of them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from local_world import World, alive, get, replica_of, run, state_of, until

from sternway.errors import PlatformUnavailable
from sternway.platforms.local.process import MARK, Process

HOST = str(Path(__file__).with_name("host.py"))


class Host:
    """A Sternway in a process of its own."""

    def __init__(self, world: World, count: int, *options: str) -> None:
        argv = [sys.executable, HOST, str(world.state_dir), str(world.flags), str(count), *options]
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def hears(self, line: str) -> None:
        """Wait until it says so."""
        assert self.child.stdout is not None
        assert (await asyncio.to_thread(self.child.stdout.readline)).strip() == line

    async def say(self, line: str) -> None:
        """Tell it something."""
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Give a list for hosts; each one is killed at the end."""
    hosts: list[Host] = []
    yield hosts
    for host in hosts:
        host.kill()


def sleeper(**env: str) -> subprocess.Popen[bytes]:
    """Start a process that is nobody's replica."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True, env=dict(os.environ) | env)
    while not psutil.Process(child.pid).environ():  # for a moment after exec there is none yet
        time.sleep(0.01)
    return child


def records(world: World) -> list[dict]:
    """Read the replica records."""
    return [json.loads(path.read_text()) for path in sorted((world.state_dir / "replicas").glob("*.json"))]


async def test_replicas_survive_kill_9_of_sternway_and_are_adopted(world: World, hosts: list[Host]) -> None:
    """The same processes serve on; all endpoints are published together, before start returns; none is restarted."""
    host = Host(world, 3)
    hosts.append(host)
    await host.hears("ready")
    before = {record["replica"]: (record["pid"], record["port"]) for record in records(world)}
    host.kill()
    assert all(alive(pid) for pid, _ in before.values())
    web = world.app()
    platform = world.platform()
    await platform.start()
    assert len(world.published) == 1
    assert {endpoint.replica: endpoint.port for endpoint in world.endpoints(web)} == {
        name: port for name, (_, port) in before.items()
    }
    await platform.apply("web", [run(web, 3)])
    state = await state_of(platform, "web", web)
    assert {replica.name: (replica.pid, replica.port) for replica in state.replicas} == before
    assert (state.desired, state.ready, state.restarts) == (3, 3, 0)
    assert len(world.published) == 1
    await platform.close(stop=True)
    assert not any(alive(pid) for pid, _ in before.values())


async def test_the_death_of_an_adopted_replica_is_noticed_and_mended(world: World, hosts: list[Host]) -> None:
    """It leaves discovery; a new process takes its place and its name."""
    host = Host(world, 1)
    hosts.append(host)
    await host.hears("ready")
    host.kill()
    web = world.app()
    platform = world.platform()
    await platform.start()
    before = await replica_of(platform, "web", web)
    assert before.pid is not None
    os.killpg(before.pid, signal.SIGKILL)
    await world.ready(web, 0)
    await world.ready(web, 1)
    after = await replica_of(platform, "web", web)
    assert (after.name, after.restarts) == (before.name, 1)
    await platform.close(stop=True)


async def test_a_replica_that_died_while_nobody_watched_is_started_again(world: World, hosts: list[Host]) -> None:
    """Its record is not trusted: only the living one is published, and the dead one comes back as a restart."""
    host = Host(world, 2)
    hosts.append(host)
    await host.hears("ready")
    host.kill()
    dead, living = records(world)
    os.killpg(dead["pid"], signal.SIGKILL)
    await until(lambda: not alive(dead["pid"]), "the replica to be dead")
    web = world.app()
    platform = world.platform()
    await platform.start()
    assert living["replica"] in [endpoint.replica for endpoint in world.published[0][2]]
    assert living["port"] in world.ports(web)
    await world.ready(web, 2)
    state = await state_of(platform, "web", web)
    assert {replica.name: replica.restarts for replica in state.replicas} == {dead["replica"]: 1, living["replica"]: 0}
    await platform.close(stop=True)


async def test_a_stop_that_was_under_way_is_finished(world: World, hosts: list[Host]) -> None:
    """A replica that had left discovery when Sternway was lost is never published again, and ends."""
    host = Host(world, 1, "--ignore-sigterm")
    hosts.append(host)
    await host.hears("ready")
    await host.say("scale 0")
    await host.hears("scaled")
    host.kill()
    (record,) = records(world)
    assert record["stopping"]
    platform = world.platform()
    await platform.start()
    os.killpg(record["pid"], signal.SIGKILL)
    await until(lambda: records(world) == [], "the record to be removed")
    assert world.published == []
    assert platform.services() == ()


async def test_a_process_that_started_before_its_pid_was_recorded_is_found(world: World, hosts: list[Host]) -> None:
    """Lost between start and record: the mark in the environment leads to the process, and none is doubled."""
    host = Host(world, 1)
    hosts.append(host)
    await host.hears("ready")
    host.kill()
    (record,) = records(world)
    path = world.state_dir / "replicas" / f"{record['replica']}.json"
    path.write_text(json.dumps(record | {"pid": None, "create_time": None}))
    web = world.app()
    platform = world.platform()
    await platform.start()
    assert (await replica_of(platform, "web", web)).pid == record["pid"]
    await platform.close(stop=True)
    assert not alive(record["pid"])


async def test_a_recycled_pid_is_left_alone(world: World) -> None:
    """A pid that now belongs to another program is neither adopted nor stopped."""
    stranger = sleeper()
    try:
        assert Process.adopt(replica="web-1", pid=stranger.pid, create_time=1.0) is None
        web = world.app()
        platform = world.platform()
        await platform.start()
        await platform.apply("web", [run(web)])
        await world.ready(web, 1)
        (record,) = records(world)
        await platform.close(stop=False)
        os.killpg(record["pid"], signal.SIGKILL)
        path = world.state_dir / "replicas" / f"{record['replica']}.json"
        path.write_text(json.dumps(record | {"pid": stranger.pid, "create_time": 1.0}))
        again = world.platform()
        await again.start()
        await until(lambda: records(world)[0]["pid"] not in (stranger.pid, None), "a new process")
        await again.close(stop=True)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_jump_of_the_clock_does_not_hide_a_replica() -> None:
    """When creation times no longer agree, the mark in the environment still tells our own process."""
    child = sleeper(**{MARK: "web-1"})
    try:
        adopted = Process.adopt(replica="web-1", pid=child.pid, create_time=1.0)
        assert adopted is not None
        assert adopted.pid == child.pid
        adopted.forget()
    finally:
        child.kill()
        child.wait()


async def test_closing_without_stopping_leaves_replicas_to_the_next(world: World) -> None:
    """close(stop=False) touches no process, and a platform in the same process adopts them."""
    first = world.platform()
    await first.start()
    web = world.app()
    await first.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    pid = (await get(endpoint.port))["pid"]
    await first.close(stop=False)
    assert world.endpoints(web) == (endpoint,)
    second = world.platform()
    await second.start()
    assert world.endpoints(web) == (endpoint,)
    assert (await get(endpoint.port))["pid"] == pid
    await second.close(stop=True)
    assert not alive(pid)


@pytest.mark.parametrize("text", ["{", '{"schema": 2}'], ids=["torn", "of a later Sternway"])
async def test_a_record_that_cannot_be_read_stops_the_start(world: World, text: str) -> None:
    """Starting beside processes that nobody knows would double them: the file is named instead."""
    platform = world.platform()
    (world.state_dir / "replicas" / "web-1.json").write_text(text)
    with pytest.raises(PlatformUnavailable, match=r"web-1\.json cannot be read"):
        await platform.start()


async def test_a_full_disk_starts_nothing_unrecorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a record cannot be written no process is started; what runs is kept, and can be stopped."""
    platform = world.platform()
    await platform.start()
    web, more = world.app(), world.app("more")
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        await platform.apply("web", [run(web), run(more)])
        while "No space left on device" not in (await replica_of(platform, "web", more)).message:
            await asyncio.sleep(0.01)
        state = await state_of(platform, "web", more)
        assert state.failure is None
        assert state.replicas[0].pid is None
        assert len(world.endpoints(web)) == 1
        await platform.apply("web", [run(more)])
        await world.ready(web, 0)
    await world.ready(more, 1)
    await platform.close(stop=True)

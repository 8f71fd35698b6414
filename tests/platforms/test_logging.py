"""Logs of replicas: kept by replica, bounded, followed, and never with a secret."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from local_world import World, failure_of, run, until

from sternway.domain.images import ImageCommand, Images
from sternway.errors import Refused
from sternway.platforms.local import LocalPlatform
from sternway.platforms.local.logs import KEPT_REPLICAS, Logs


async def lines_of(logs: Logs, service: str, **options: object) -> list[str]:
    """Read without following."""
    facts: dict = {"replica": None, "lines": 100, "follow": False}
    return [line async for _, line in logs.read(service, **(facts | options))]


async def test_logs_of_all_replicas_or_of_one_are_read(world: World, platform: LocalPlatform) -> None:
    """Each line comes with its replica's name; one replica's can be asked for; an unknown one is refused."""
    web = world.app("--say", "hello from $HOSTNAME")
    await platform.apply("web", [run(web, 2)])
    first, second = (endpoint.replica for endpoint in await world.ready(web, 2))
    found = {line async for line in platform.logs("web")}
    assert found == {(name, f"hello from {name}") for name in (first, second)}
    assert [line async for line in platform.logs("web", replica=first)] == [(first, f"hello from {first}")]
    with pytest.raises(Refused, match="no log of a replica named nobody"):
        _ = [line async for line in platform.logs("web", replica="nobody")]


async def test_a_followed_log_brings_new_lines_and_new_replicas(world: World, platform: LocalPlatform) -> None:
    """Following yields what is written later, by replicas that did not exist when it began, too."""
    web = world.app("--say", "one")
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    seen: list[tuple[str, str]] = []

    async def follow() -> None:
        async for name, line in platform.logs("web", follow=True):
            seen.append((name, line))

    task = asyncio.create_task(follow())
    await until(lambda: len(seen) == 1, "the first line")
    log = next((world.state_dir / "logs" / "web").glob("*.log"))
    with log.open("a") as file:
        file.write("two\nthr")
    await until(lambda: len(seen) == 2, "the second line")
    with log.open("a") as file:
        file.write("ee\n")
    await platform.apply("web", [run(web, 2)])
    await until(lambda: len(seen) == 4, "the new replica's line")
    task.cancel()
    assert [line for name, line in seen if name == log.stem] == ["one", "two", "three"]
    assert {line for name, line in seen if name != log.stem} == {"one"}


async def test_a_full_log_is_cut_while_its_process_writes_on(world: World, platform: LocalPlatform) -> None:
    """After a rotation the file starts anew with what the process writes next; the old lines stand in the copy."""
    script = "import time\nfor n in range(10**6):\n  print(f'line {n} ' + 'x' * 100, flush=True); time.sleep(0.001)"
    web = world.app(port=None, readiness=None)
    world.images = Images(commands=(ImageCommand(image="app", command=(sys.executable, "-S", "-c", script)),))
    await platform.apply("web", [run(web)])
    folder = world.state_dir / "logs" / "web"
    await until(lambda: any(path.stat().st_size > 20_000 for path in folder.glob("*.log")), "some output")
    (log,) = folder.glob("*.log")
    logs = Logs(world.state_dir / "logs", limit_bytes=10_000)
    await asyncio.to_thread(logs.rotate)
    assert log.stat().st_size < 10_000
    old = log.with_name(log.name + ".1")
    assert old.read_text().startswith("line 0 ")
    await until(lambda: log.stat().st_size > 500, "more output")
    assert b"\0" not in log.read_bytes()
    numbers = [int(line.split()[1]) for line in await lines_of(logs, "web", lines=60) if line.startswith("line ")]
    assert len(numbers) >= 55
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]


async def test_a_reader_follows_over_a_rotation(tmp_path: Path) -> None:
    """A truncated file is read from its start again."""
    logs = Logs(tmp_path, limit_bytes=10)
    log = logs.path("web", "web-1")
    log.write_text("before the rotation\n")
    seen: list[str] = []

    async def follow() -> None:
        async for _, line in logs.read("web", replica=None, lines=10, follow=True):
            seen.append(line)

    task = asyncio.create_task(follow())
    await until(lambda: len(seen) == 1, "the first line")
    logs.rotate()
    await asyncio.sleep(0.15)
    with log.open("a") as file:
        file.write("after\n")
    await until(lambda: len(seen) == 2, "the second line")
    task.cancel()
    assert seen == ["before the rotation", "after"]


async def test_the_last_lines_reach_back_over_a_rotation(tmp_path: Path) -> None:
    """Asked for more lines than the current file has, the rotated one is read too; asked for fewer, only the end."""
    logs = Logs(tmp_path, limit_bytes=10)
    log = logs.path("web", "web-1")
    log.write_text("".join(f"{n}\n" for n in range(30_000)))
    logs.rotate()
    log.write_text("new 1\nnew 2\n")
    assert await lines_of(logs, "web", lines=3) == ["29999", "new 1", "new 2"]
    assert await lines_of(logs, "web", lines=1) == ["new 2"]
    assert await lines_of(logs, "web", lines=20_002) == [*(str(n) for n in range(10_000, 30_000)), "new 1", "new 2"]


async def test_a_gone_replica_s_log_is_kept(world: World, platform: LocalPlatform) -> None:
    """What a crashed and removed replica said can still be read."""
    web = world.app("--say", "last words", "--exit", "1")
    await platform.apply("web", [run(web)])
    await failure_of(platform, "web", web)
    await platform.apply("web", [])
    await until(lambda: platform.services() == (), "the service to be gone")
    assert [line async for _, line in platform.logs("web")] == ["last words"] * 3


async def test_only_the_last_logs_of_gone_replicas_are_kept(tmp_path: Path) -> None:
    """Ten logs of gone replicas stay, the latest; those of living replicas always do."""
    logs = Logs(tmp_path)
    for n in range(KEPT_REPLICAS + 5):
        path = logs.path("web", f"web-{n:02}")
        path.write_text("x\n")
        path.with_name(path.name + ".1").write_text("old\n")
        os.utime(path, (1000 + n, 1000 + n))
    logs.prune("web", {"web-00"})
    assert logs.replicas("web") == ("web-00", *(f"web-{n:02}" for n in range(5, KEPT_REPLICAS + 5)))
    assert len(list((tmp_path / "web").glob("*.log.1"))) == KEPT_REPLICAS + 1


async def test_housekeeping_runs_by_itself(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform cuts full logs, and removes ConfigMap folders that no workload uses, without being asked."""
    monkeypatch.setattr(platform._around.logs, "_limit_bytes", 10)
    log = platform._around.logs.path("web", "web-1")
    log.write_text("a line that is too long\n")
    left = world.state_dir / "config" / "abandoned"
    left.mkdir(parents=True)
    await until(lambda: not left.exists(), "the abandoned folder to be removed")
    assert log.read_text() == ""

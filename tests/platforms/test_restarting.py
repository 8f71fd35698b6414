"""Ends that nobody asked for: noticed at once, restarted with back-off, told as a sentence."""

import asyncio
import itertools
import os
import signal
import time
from typing import Any

import pytest
from local_world import World, alive, failure_of, get, replica_of, run, state_of, until

from sternway.domain.versions import Probe
from sternway.platforms.local import LocalPlatform, process
from sternway.platforms.local.crashes import Crashes

PATIENT = Probe(http_path="/live", failure_threshold=30)


async def test_a_killed_replica_leaves_discovery_at_once_and_comes_back(world: World, platform: LocalPlatform) -> None:
    """Its death is published and the loop woken; the other replica stays; each time it is started again."""
    web = world.app()
    await platform.apply("web", [run(web, 2)])
    await world.ready(web, 2)
    victim, other = (await state_of(platform, "web", web)).replicas
    assert victim.pid is not None
    for _ in range(3):
        pid = (await state_of(platform, "web", web)).replicas[0].pid
        assert pid is not None
        world.published.clear()
        world.woken.clear()
        os.killpg(pid, signal.SIGKILL)
        await until(lambda: bool(world.published), "the death to be published")
        _, _, endpoints = world.published[0]
        assert [endpoint.replica for endpoint in endpoints] == [other.name]
        assert world.woken[0][1] == "web"
        await world.ready(web, 2)
    state = await state_of(platform, "web", web)
    assert [replica.restarts for replica in state.replicas] == [3, 0]
    assert state.failure == "crash loop: was killed 3 times by SIGKILL in " + state.failure.partition(" in ")[2]


async def test_restarts_back_off(world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first restart waits for nothing, the next for 0.5 s, the next for 1 s."""
    started_s: list[float] = []
    spawn = process.Process.spawn

    def spawned(*arguments: Any, **more: Any) -> process.Process:
        started_s.append(time.monotonic())
        return spawn(*arguments, **more)

    monkeypatch.setattr(process.Process, "spawn", spawned)
    await platform.apply("web", [run(world.app("--exit", "1"))])
    await until(lambda: len(started_s) == 4, "four starts")
    _, second, third = (late - early for early, late in itertools.pairwise(started_s))
    assert second >= 0.5
    assert third >= 1.0


def test_back_off_doubles_up_to_half_a_minute() -> None:
    """0, 0.5, 1, 2 … 30 s after ends; 0.5, 1, 2 … 30 s when nothing could be started; none again after a steady run."""
    crashes = Crashes()
    waits = []
    for _ in range(10):
        crashes.ended(0, "exited with status 1", "")
        waits.append(crashes.back_off_s())
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    crashes.steady()
    assert (crashes.back_off_s(), crashes.failure()) == (0, None)
    waits = []
    for _ in range(8):
        crashes.not_started()
        waits.append(crashes.back_off_s())
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        (["exited with status 3"] * 3, "exited 3 times with status 3 in 4 s"),
        (["was killed by SIGSEGV"] * 4, "was killed 4 times by SIGSEGV in 4 s"),
        (["ended"] * 3, "ended 3 times in 4 s"),
        (
            ["exited with status 1", "ended", "was killed by SIGKILL"],
            "ended 3 times in 4 s, at last it was killed by SIGKILL",
        ),
        (["liveness probe failed 3 times: x"] * 3, "was restarted 3 times in 4 s: liveness probe failed 3 times: x"),
    ],
    ids=["same status", "same signal", "unknown", "mixed", "probe"],
)
def test_a_crash_loop_reads_as_a_sentence(reasons: list[str], sentence: str) -> None:
    """Whatever the ends were, one sentence says how often, how and in what time."""
    crashes = Crashes()
    crashes.started(10)
    for reason in reasons:
        crashes.ended(14, reason, "bye")
    assert crashes.failure() == f"crash loop: {sentence}; last output: bye"


async def test_a_crash_loop_is_told_with_its_last_words(world: World, platform: LocalPlatform) -> None:
    """Three exits in quick succession: how often, with which status, in what time, and the last line of output."""
    web = world.app("--say", "cannot open the shop: no key", "--exit", "3")
    await platform.apply("web", [run(web)])
    failure = await failure_of(platform, "web", web)
    assert failure.startswith("crash loop: exited 3 times with status 3 in ")
    assert failure.endswith(" s; last output: cannot open the shop: no key")
    assert (await replica_of(platform, "web", web)).phase == "crashed"
    assert world.endpoints(web) == ()


async def test_a_process_that_wants_a_fixed_port_is_told_about_ports(world: World, platform: LocalPlatform) -> None:
    """Last words about an address in use get the hint to listen on the replica's own port."""
    web = world.app("--say", "OSError: [Errno 98] Address already in use", "--exit", "1")
    await platform.apply("web", [run(web)])
    assert "(port taken: the process must listen on the port in PORT" in await failure_of(platform, "web", web)


async def test_a_replica_that_exits_later_is_restarted_without_being_a_failure(
    world: World, platform: LocalPlatform
) -> None:
    """One exit is a restart, not a crash loop."""
    web = world.app("--exit-after", "0.8")
    await platform.apply("web", [run(web)])
    (before,) = await world.ready(web, 1)
    await world.ready(web, 0)
    (after,) = await world.ready(web, 1)
    assert before.port != after.port
    state = await state_of(platform, "web", web)
    assert state.failure is None
    assert state.restarts == 1


async def test_a_steady_run_ends_a_crash_loop(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has run long enough, the failure is taken back, the loop is woken, and one more end is none."""
    monkeypatch.setattr("sternway.platforms.local.crashes.Crashes.STEADY_S", 6.0)
    web = world.app()
    await platform.apply("web", [run(web)])
    for _ in range(3):
        await world.ready(web, 1)
        os.killpg((await replica_of(platform, "web", web)).pid or 0, signal.SIGKILL)
        await world.ready(web, 0)
    assert await failure_of(platform, "web", web)
    await world.ready(web, 1)
    world.woken.clear()
    await until(lambda: bool(world.woken), "the failure to be taken back")
    assert (await state_of(platform, "web", web)).failure is None
    os.killpg((await replica_of(platform, "web", web)).pid or 0, signal.SIGKILL)
    await world.ready(web, 0)
    await world.ready(web, 1)
    assert (await state_of(platform, "web", web)).failure is None


async def test_a_failed_liveness_probe_restarts_the_replica(world: World, platform: LocalPlatform) -> None:
    """Out of discovery first, then SIGTERM, then a new process under the same name."""
    web = world.app(startup=PATIENT, liveness=Probe(http_path="/live", period_s=0.1, failure_threshold=3))
    await platform.apply("web", [run(web)])
    (before,) = await world.ready(web, 1)
    pid = (await get(before.port))["pid"]
    (world.flags / "ill").touch()
    await world.ready(web, 0)
    (world.flags / "ill").unlink()
    (after,) = await world.ready(web, 1)
    assert after.replica == before.replica
    assert (await get(after.port))["pid"] != pid
    assert not alive(pid)
    removed_s = next(at_s for at_s, _, endpoints in world.published if endpoints == ())
    assert float((world.flags / f"sigterm-{before.replica}").read_text()) > removed_s
    assert (await replica_of(platform, "web", web)).restarts == 1


async def test_a_hung_process_fails_its_liveness_probe(world: World, platform: LocalPlatform) -> None:
    """A process that is stopped answers nothing: the probe's time-out counts, and SIGKILL ends it."""
    liveness = Probe(http_path="/live", period_s=0.1, timeout_s=1.0, failure_threshold=3)
    web = world.app(startup=PATIENT, liveness=liveness, grace_s=0.2)
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    pid = (await replica_of(platform, "web", web)).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: not alive(pid), "the hung process to be replaced")
    await world.ready(web, 1)


async def test_children_of_a_crashed_replica_are_gone_before_its_restart(world: World, platform: LocalPlatform) -> None:
    """A killed leader leaves no process of its group behind."""
    web = world.app("--child")
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    child = int((world.flags / "child").read_text())
    os.kill((await replica_of(platform, "web", web)).pid or 0, signal.SIGKILL)
    await until(lambda: not alive(child), "the child to be gone")
    await world.ready(web, 1)


@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "without pidfd"])
async def test_an_end_is_noticed_with_and_without_pidfd(
    world: World, monkeypatch: pytest.MonkeyPatch, *, pidfd: bool
) -> None:
    """Our own child's end is noticed either way, with its exit; so is that of an adopted one."""
    if not pidfd:
        monkeypatch.setattr(process, "_pidfd_open", None)
    argv = ("sh", "-c", "exec sleep 30")
    child = process.Process.spawn(argv, env=dict(os.environ), cwd=None)
    child.kill()
    assert (await child.exited).status == -signal.SIGKILL
    child = process.Process.spawn(argv, env=dict(os.environ), cwd=None)
    adopted = process.Process(child.pid)
    child.forget()
    adopted.kill()
    await asyncio.wait_for(adopted.exited, 60)
    assert not child.exited.done()


async def test_supervision_that_breaks_is_told_and_taken_up_again(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error reaches the caller of the platform once; the process is adopted, not doubled."""
    web = world.app()
    await platform.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    pid = (await get(endpoint.port))["pid"]

    async def broken(*_: object) -> str | None:
        msg = "a bug"
        raise LookupError(msg)

    with monkeypatch.context() as patch:
        patch.setattr("sternway.platforms.local.probes.Prober.check", broken)
        await world.ready(web, 0)
        with pytest.raises(process.PlatformUnavailable, match=r"LookupError.*a bug"):
            await platform.describe("web")
    (again,) = await world.ready(web, 1)
    assert (await get(again.port))["pid"] == pid

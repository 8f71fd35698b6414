"""What breaks while a platform runs: each fault has a clear outcome, and nothing is lost. See README.md for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil
import pytest
import yaml
from whole_world import Platform, Repository

from sternway.clock import SystemClock
from sternway.domain.releases import Phase
from sternway.errors import PlatformUnavailable
from sternway.ports import Entry

Start = Callable[..., Awaitable[Platform]]


async def test_a_release_goes_on_after_envoy_was_killed(repository: Repository, started: Start):
    """A new Envoy takes over with the same split; requests fail only while there is none; nobody is condemned for it."""
    repository.write("orders", "1.0.0")
    repository.commit()
    platform = await started()
    async with platform.load("orders") as load:
        repository.release("orders", "2.0.0")
        before = await platform.reaches("orders", Phase.EXPOSED)
        killed_s = time.time()
        os.kill(platform.sternway.router.process.pid, signal.SIGKILL)
        release = await platform.over("orders")
        back_s = time.time()
        await asyncio.sleep(0.5)
    assert (release.name, release.phase) == (before.name, Phase.PROMOTED)
    gap = [one.at_s for one in load.failures]
    assert gap, "the load has noticed"
    assert killed_s - 0.1 < min(gap)
    assert max(gap) < back_s
    assert (await platform.replayed(release.name)).matches


async def test_a_killed_replica_costs_little_more_than_its_requests_under_way(repository: Repository, started: Start):
    """The others serve, it is started again, and the release beside it is not blamed."""
    repository.write("orders", "1.0.0", replicas=2)
    repository.commit()
    platform = await started()
    async with platform.load("orders", rate_per_s=100) as load:
        repository.release("orders", "2.0.0")
        release = await platform.reaches("orders", Phase.EXPOSED)
        states = await platform.sternway.platform.describe("orders")
        stable = next(one for one in states if one.image == "app:1.0.0")
        os.kill(stable.replicas[0].pid or 0, signal.SIGKILL)

        async def mended() -> bool:
            found = await platform.sternway.platform.describe("orders")
            again = next((one for one in found if one.image == "app:1.0.0"), None)
            return again is None or (again.ready == 2 and again.restarts == 1)

        await platform.until(mended, "the replica is back")
        release = await platform.over("orders")
    assert release.phase is Phase.PROMOTED
    assert load.failed < 0.1 * load.answered


async def test_with_a_full_disk_a_bad_version_still_loses_its_traffic(repository: Repository, started: Start):
    """Nothing can be recorded, so nothing else is begun; with room again all of it is recorded, reverted and replays."""
    repository.write("orders", "1.0.0", shield={"enabled": False})
    repository.commit()
    platform = await started()
    journal = platform.sternway.journal

    def pages(count: int) -> None:
        with journal._writer.reading() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {count}")

    record = journal.record

    async def fills_up(entries: Sequence[Entry], **more: Any) -> None:
        """That the version gets traffic is the last thing that there is room for."""
        await record(entries, **more)
        if any(
            one.progress and one.progress.release and one.progress.release.phase is Phase.EXPOSED for one in entries
        ):
            journal.record = record
            await journal._writer.run(pages, 1)

    journal.record = fills_up
    async with platform.load("orders") as load:
        await asyncio.sleep(1)
        commit = repository.release("orders", "bad-2.0.0")

        async def taken_away() -> bool:
            release, plan = await platform.last("orders"), await platform.sternway.router.observe("orders")
            stable = release.stable.id if release is not None else ""
            return bool(load.failed) and plan is not None and plan.split.percent(stable) == 100

        await platform.until(taken_away, "stable has all traffic again, after users have met the bad version")
        await asyncio.sleep(1.5)
        assert await taken_away(), "it is not given back"
        failed = load.failed
        await asyncio.sleep(1)
        assert load.failed == failed
        shown = (await platform.status()).services[0]
        assert "full" in shown.troubles[0].message
        assert repository.git("rev-parse", "HEAD") == commit, "what is not recorded is not done"
        await journal._writer.run(pages, 1_000_000)
        release = await platform.over("orders")
    assert release.phase is Phase.ROLLED_BACK
    assert repository.image("orders") == "app:1.0.0"
    replayed = await platform.replayed(release.name)
    assert replayed.matches, replayed.mismatches
    assert not (await platform.status()).services[0].troubles


UNREADABLE = {
    "an unknown field": (b"replicas: 1", b"replcas: 1", "replicas"),
    "malformed YAML": (b"replicas: 1", b"replicas: [1", "orders.yaml"),
    "no UTF-8": (b"replicas: 1", b"replicas: 1 # \xff", "UTF-8"),
    "an image without mapping": (b"app:1.0.0", b"apps:1.0.0", "images.yaml"),
    "a weight over 100": (b"percent: 20", b"percent: 120", "100"),
}


async def test_what_cannot_be_read_changes_nothing_and_is_shown(repository: Repository, started: Start):
    """Mistakes pushed to a running platform: the old state serves on, status names the mistake, the mended file goes on."""
    repository.write("orders", "1.0.0")
    repository.commit()
    platform = await started()
    path = repository.folder / "orders.yaml"
    good = path.read_bytes()
    async with platform.load("orders") as load:
        for what, (old, new, said) in UNREADABLE.items():
            assert old in good, what
            path.write_bytes(good.replace(old, new))
            repository.commit(what)

            async def shown(word: str = said) -> bool:
                return any(word in problem for problem in (await platform.status()).problems)

            await platform.until(shown, f"status shows {what}")
            assert (await platform.last("orders")) is None
        path.write_bytes(good)
        repository.release("orders", "2.0.0")
        assert (await platform.over("orders")).phase is Phase.PROMOTED
        assert (await platform.status()).problems == ()
    assert load.failed == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/program"], "/nowhere/program"),
        (["{python}", "-c", "raise SystemExit('no database')"], "no database"),
    ],
    ids=["a command that does not exist", "a command that ends at once"],
)
async def test_a_version_that_cannot_start_gets_no_request(
    repository: Repository, started: Start, command: list[str], said: str
):
    """It is taken back with the reason in words, in Git too; stable serves all the while."""
    repository.write("orders", "1.0.0")
    images = yaml.safe_load((repository.folder / "images.yaml").read_text())
    images["images"]["app:broken"] = {"command": command}
    (repository.folder / "images.yaml").write_text(yaml.safe_dump(images))
    repository.commit()
    platform = await started()
    async with platform.load("orders") as load:
        repository.release("orders", "broken")
        release = await platform.over("orders")
    assert release.phase is Phase.ROLLED_BACK
    assert said in release.reason
    assert said in repository.git("log", "-1", "--format=%B")
    assert (release.requests, load.failed) == (0, 0)


async def test_a_rewritten_branch_replaces_what_is_being_released(repository: Repository, started: Start):
    """An amended commit: the old candidate gives way, the new one is released, and the old commit stays readable."""
    repository.write("orders", "1.0.0", strategy={"canary": {"steps": [{"percent": 20, "minRequests": 10_000}]}})
    repository.commit()
    platform = await started()
    async with platform.load("orders") as load:
        old = repository.release("orders", "2.0.0")
        first = await platform.reaches("orders", Phase.EXPOSED)
        repository.write("orders", "3.0.0")
        repository.git("commit", "--quiet", "--all", "--amend", "--message", "Orders 3.0.0 instead")
        second = await platform.over("orders", after=first.name)
    assert second.phase is Phase.PROMOTED
    assert second.candidate.workload.tag == "3.0.0"
    assert (await platform.sternway.history.at(old)).commit == old
    assert [(r.old, r.new) for r in platform.sternway.history.rewrites] == [(old, repository.git("rev-parse", "HEAD"))]
    assert load.failed == 0


async def test_a_port_that_is_taken_is_told_and_taken_up_later(repository: Repository, started: Start):
    """The other services serve; when the program has gone, this one does too, without any restart."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        repository.write("orders", "1.0.0")
        path = repository.folder / "orders.yaml"
        path.write_text(
            path.read_text().replace("containerPort: 80", f"containerPort: {port}").replace("port: 80", f"port: {port}")
        )
        repository.write("stock", "1.0.0")
        repository.commit()
        platform = Platform(repository)
        try:
            await platform.sternway.start()

            async def stock_serves() -> bool:
                found = {one.service: one for one in (await platform.status()).services}
                told = [trouble.message for trouble in found["orders"].troubles]
                return bool(found["stock"].ready and found["stock"].address and told and str(port) in told[0])

            await platform.until(stock_serves, "stock serves, and the taken port is told")
            other.close()
            await platform.until(platform.ready, "orders serves")
            assert platform.url("orders") == f"http://127.0.0.1:{port}"
            async with platform.load("orders") as load:

                async def answered() -> bool:
                    return load.answered > 20

                await platform.until(answered, "callers are answered")
            assert load.failed == 0
        finally:
            await platform.sternway.close(stop=True)


async def test_a_platform_that_lost_its_state_runs_what_the_ledger_calls_good(repository: Repository, started: Start):
    """The journal is gone and the head is a version that was taken back: the first version serves, which nobody promoted."""
    repository.write("orders", "1.0.0")
    repository.commit()
    lost = Platform(repository)

    async def told() -> bool:
        return [mark.verdict for mark in await lost.sternway.history.ledger()] == ["good", "bad"]

    try:
        await lost.start()
        async with lost.load("orders"):
            repository.release("orders", "bad-2.0.0")
            assert (await lost.over("orders")).phase is Phase.ROLLED_BACK
        await lost.until(told, "the ledger knows both")
    finally:
        await lost.sternway.close(stop=True)
    shutil.rmtree(repository.folder / ".sternway")
    repository.release("orders", "bad-2.0.0")
    again = await started()
    (shown,) = (await again.status()).services
    assert (shown.stable or "").startswith("1.0.0")
    assert "is held: it was taken back before" in shown.reason


async def test_a_start_that_fails_leaves_no_envoy_of_its_own(repository: Repository):
    """Envoy is up when the start fails: it is ended; but one that ran before, with services behind it, runs on."""
    repository.write("orders", "1.0.0")
    repository.commit()
    torn = repository.folder / ".sternway" / "replicas" / "orders-torn.json"
    first, second, third, last = (Platform(repository) for _ in range(4))
    await first.start()
    await first.sternway.close(stop=True)
    torn.write_text("{")
    with pytest.raises(PlatformUnavailable, match="cannot be read"):
        await second.sternway.start()
    assert second.sternway.router.process.starts == 1
    assert not envoys(repository)

    torn.unlink()
    try:
        await last.start()
        pid = last.sternway.router.process.pid
        await last.sternway.close(stop=False)
        torn.write_text("{")
        with pytest.raises(PlatformUnavailable, match="cannot be read"):
            await third.sternway.start()
        assert envoys(repository) == [pid]
    finally:
        torn.unlink(missing_ok=True)
        last = Platform(repository)
        await last.start()
        await last.sternway.close(stop=True)


def envoys(repository: Repository) -> list[int]:
    """Find the Envoys that run for a platform."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if str(repository.folder / ".sternway" / "envoy") in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


async def test_services_that_git_does_not_name_any_more_are_stopped(repository: Repository, started: Start):
    """Removed from Git: out of the mesh, no process left; the others do not notice."""
    repository.write("orders", "1.0.0")
    repository.write("stock", "1.0.0")
    repository.commit()
    platform = await started()
    async with platform.load("orders") as load:
        (repository.folder / "stock.yaml").unlink()
        repository.commit("No stock any more")

        async def gone() -> bool:
            return platform.sternway.platform.services() == ("orders",)

        await platform.until(gone, "nothing runs for stock")
        assert [one.service for one in (await platform.status()).services] == ["orders"]
    assert load.failed == 0


async def test_the_journal_is_kept_in_bounds_while_the_platform_runs(
    repository: Repository, started: Start, monkeypatch: pytest.MonkeyPatch
):
    """What is old and says nothing goes by itself, without a restart; what matters stays."""
    monkeypatch.setattr("sternway.bootstrap.ROLL_UP_EVERY_S", 0.1)
    repository.write("orders", "1.0.0")
    repository.commit()
    platform = await started()
    journal, now_s = platform.sternway.journal, platform.sternway.clock.now()
    old, new = (
        Entry(service="orders", release=None, kind="note", at_s=at_s, text=f"at {at_s}")
        for at_s in (now_s - 90 * 86_400, now_s)
    )
    await journal.record([old, new])

    async def dropped() -> bool:
        return old.text not in [entry.text for entry in await journal.entries(service="orders")]

    await platform.until(dropped, "the old line is dropped")
    assert new.text in [entry.text for entry in await journal.entries(service="orders")]


def test_a_clock_that_jumps_moves_nothing(monkeypatch: pytest.MonkeyPatch):
    """Time goes on steadily after the machine's clock was set back or forward."""
    clock = SystemClock()
    before = clock.now()
    real = time.time
    for jump_s in (-86_400.0, 86_400.0):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: real() + jump_s)
        now = clock.now()
        assert before <= now < before + 5
        before = now


async def test_a_jump_of_the_clock_during_a_release_moves_nothing(
    repository: Repository, started: Start, monkeypatch: pytest.MonkeyPatch
):
    """A day forward, then two days back: the release takes as long as ever and is promoted."""
    repository.write("orders", "1.0.0")
    repository.commit()
    platform = await started()
    real = time.time
    async with platform.load("orders") as load:
        repository.release("orders", "2.0.0")
        await platform.reaches("orders", Phase.EXPOSED)
        monkeypatch.setattr(time, "time", lambda: real() + 86_400)
        await platform.reaches("orders", Phase.BAKING, Phase.PROMOTED)  # a bake is short
        monkeypatch.setattr(time, "time", lambda: real() - 86_400)
        release = await platform.over("orders")
    assert release.phase is Phase.PROMOTED
    assert release.ended_s is not None
    assert release.ended_s - release.started_s < 3600
    assert load.failed == 0

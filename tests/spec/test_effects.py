"""Effects fail one by one: what fails holds nothing else up, and nothing that was seen is lost."""

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest
from world import Store, World, guard

from sternway.control import outbox
from sternway.control.outbox import Outbox
from sternway.control.replay import replay
from sternway.domain.guards import ABTest
from sternway.domain.platform import WorkloadRun
from sternway.domain.releases import Command, Mark, Phase, Verb
from sternway.errors import PlatformUnavailable, StoreUnavailable
from sternway.ports import Entry
from sternway.testing.fakes import FakeHistory, FakePlatform


class Full(Store):
    """A store on a disk that may be full: nothing can be written, or even read."""

    full = False
    unreadable = False

    async def record(self, entries: Sequence[Entry], *, sync: bool = False) -> None:
        """See ports.Journal."""
        if self.full:
            raise StoreUnavailable("the disk is full", hint="make room")
        await super().record(entries, sync=sync)

    async def after(self, service: str, last: int) -> tuple[Command, ...]:
        """See ports.CommandQueue."""
        if self.unreadable:
            raise StoreUnavailable("the disk does not answer", hint="see the disk")
        return await super().after(service, last)


async def started(**fields: object) -> World:
    """A world in which 1.0.0 serves."""
    world = World(**fields)  # type: ignore[arg-type]
    world.commit("1.0.0")
    await world.run(30)
    return world


async def test_git_is_reverted_although_the_proxies_take_no_plan():
    """A proxy that refuses delays the traffic alone."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.EXPOSED)
    world.router.refuse = 10_000
    await world.run(20)
    assert len(world.history.reverts) == 1


async def test_no_workload_stops_while_the_proxies_still_send_it_traffic():
    """The way back is decided, but not in force: the candidate goes on answering."""
    world = await started()
    bad = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.router.refuse = 10_000
    world.commit("1.0.0")
    await world.run(30)
    assert await world.share(bad.id) > 0
    running = {state.image for state in await world.platform.describe("orders")}
    assert running == {"orders:1.0.0", "orders:1.1.0"}
    world.router.refuse = 0
    await world.run(10)
    assert {state.image for state in await world.platform.describe("orders")} == {"orders:1.0.0"}


async def test_git_is_reverted_although_the_platform_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    """Workloads that cannot be scaled delay neither traffic nor Git."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0)
    await world.until(Phase.EXPOSED)

    async def fail(_: FakePlatform, service: str, runs: Sequence[WorkloadRun]) -> None:
        raise PlatformUnavailable(f"{service}: {len(runs)} workloads cannot be started", hint="free a port")

    monkeypatch.setattr(FakePlatform, "apply", fail)
    await world.restart()
    await world.run(20)
    assert await world.share(bad.id) == 0
    assert len(world.history.reverts) == 1


async def test_harm_is_seen_while_the_store_does_not_answer():
    """A reading that was taken is judged, and traffic leaves the bad version without a journal."""
    store = Full()
    world = await started(store=store)
    bad = world.commit("1.1.0", error=1.0)
    await world.until(Phase.EXPOSED)
    store.full = store.unreadable = True
    await world.run(10)
    assert await world.share(bad.id) == 0
    store.full = store.unreadable = False
    await world.until(Phase.ROLLED_BACK)
    assert len(world.history.reverts) == 1


async def test_a_group_of_users_leaves_a_bad_version_although_the_journal_cannot_be_written():
    """In an A/B test the split says nothing: the pin is what must go."""
    store = Full()
    world = await started(store=store)
    world.commit("1.1.0", with_guard=guard(strategy=ABTest(header=("x-group", "b"))))
    await world.until(Phase.EXPOSED)
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.pins
    await world.store.add("orders", Verb.ABORT.value, "ada", world.clock.now(), None, "")
    store.full = True
    await world.look()
    plan = await world.router.observe("orders")
    assert plan is not None
    assert not plan.pins


async def test_a_command_is_answered_once_the_journal_can_be_written_again():
    """Refused by a full disk, the pass is kept, and so is its answer."""
    store = Full()
    world = await started(store=store)
    await world.store.add("orders", Verb.PAUSE.value, "ada", world.clock.now(), None, "")
    store.full = True
    await world.look()
    assert not world.replies
    store.full = False
    await world.run(2)
    assert [reply.accepted for reply in world.replies] == [False]


async def test_git_work_that_fails_unexpectedly_is_shown_and_tried_again(monkeypatch: pytest.MonkeyPatch):
    """A bug in the ledger neither vanishes nor spins."""
    world = await started()
    tries = 0

    async def fail(_: FakeHistory, marks: Sequence[Mark]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError(f"no way to write {len(marks)} marks")

    monkeypatch.setattr(outbox, "LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr(FakeHistory, "mark", fail)
    mark = Mark(service="orders", version="v", commit="c", verdict="bad", release="orders-1", why="", at_s=0.0)
    decision = world.reconciler.decision("orders")
    assert decision is not None
    box = Outbox(history=world.history, wake=lambda _: None)
    box.post(dataclasses.replace(decision, marks=(mark,)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "no way to write 1 marks" in box.troubles["marks orders"]
    while not box.marked("orders"):
        await asyncio.sleep(0.01)
    assert tries == 2
    assert not box.troubles
    await box.close()


async def test_what_waits_for_a_disk_with_room_is_bounded_and_told(monkeypatch: pytest.MonkeyPatch):
    """After a long time without a journal the oldest passes are missing: said in the journal, and the rest replays."""
    monkeypatch.setattr("sternway.control.unrecorded.MOST", 40)
    store = Full()
    world = await started(store=store)
    world.commit("1.1.0", with_guard=guard(strategy=ABTest(header=("x-group", "b"), min_requests=100_000)))
    await world.until(Phase.EXPOSED)
    store.full = True
    await store.add("orders", Verb.PAUSE.value, "ada", world.clock.now(), None, "")
    await world.run(300)
    assert len(world.reconciler._unrecorded["orders"].lines) <= 40
    assert world.replies == []
    store.full = False
    await world.say(Verb.PROMOTE)
    assert [reply.accepted for reply in world.replies] == [True, True], "nobody waits for an answer for ever"
    release = await world.until(Phase.PROMOTED)
    entries = await store.entries(release=release.name)
    assert any("passes are missing here" in entry.text for entry in entries)
    replayed = replay(release.name, entries)
    assert replayed.matches, replayed.mismatches
    assert replayed.gaps

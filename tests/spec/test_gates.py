"""Gates: what must succeed before a release goes on, whatever the evidence says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import Crash, World, guard

from sternway.domain.guards import BlueGreen, Gate, MirrorFirst, Mode, Then
from sternway.domain.releases import Phase, Verb


def gate(name: str = "smoke", **changes: object) -> Gate:
    """A gate before any user, unless changed."""
    return replace(Gate(name=name, command="true", timeout_s=60.0), **changes)  # type: ignore[arg-type]


async def released(*gates: Gate, **changes: object) -> World:
    """A world in which 1.0.0 serves, and 1.1.0 was pushed a moment ago."""
    world = World()
    world.commit("1.0.0")
    await world.run(10)
    world.commit("1.1.0", with_guard=guard(gates=gates, **changes))
    await world.run(5)
    return world


@pytest.mark.parametrize("changes", [{}, {"mirror": MirrorFirst()}, {"strategy": BlueGreen()}], ids=str)
async def test_no_user_meets_a_version_before_its_gate_has_passed(changes: dict[str, object]) -> None:
    """It runs and can be reached at its preview address, once; when the gate has passed, the release goes its way."""
    world = await released(gate(), **changes)
    await world.run(30)
    release = await world.release()
    assert release.phase is Phase.STARTING
    assert release.reason == "waiting for gate smoke, before any user"
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.preview == release.candidate.id
    assert plan.split.percent(release.candidate.id) == 0
    assert plan.mirror is None
    assert world.gates.started == [("orders-1", "smoke")]
    world.gates.ends["smoke"] = ""
    await world.until(Phase.PROMOTED)
    assert world.gates.started == [("orders-1", "smoke")]
    assert world.gates.running["orders"] == ()
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.preview is None


async def test_what_a_gate_refuses_is_taken_back_and_held() -> None:
    """As by harm: Git is reverted, the version is held, the reason names the gate, and no user has met it."""
    world = await released(gate())
    world.gates.ends["smoke"] = "2 of 9 checks failed"
    await world.until(Phase.ROLLED_BACK)
    release = await world.release()
    assert release.reason == "gate smoke failed: 2 of 9 checks failed"
    assert release.requests == 0
    assert [revert.release for revert in world.history.reverts] == ["orders-1"]
    assert release.candidate.id in (await world.progress()).held


async def test_a_gate_stands_before_its_step_and_before_all_traffic() -> None:
    """Each begins when its point is reached, with the share that it stands at; both see what they are about."""
    world = await released(gate("load", before_step=2), gate("last", before_step=None))
    await world.until(Phase.EXPOSED)
    await world.run(60)
    first = await world.release()
    assert (first.index, first.gates_running) == (0, ("load",))
    assert 0 < await world.share(first.candidate.id) < 20
    world.gates.ends["load"] = ""
    await world.run(60)
    second = await world.release()
    assert (second.phase, second.index, second.gates_running) == (Phase.EXPOSED, 1, ("last",))
    assert await world.share(second.candidate.id) == 20
    world.gates.ends["last"] = "the backup is not done"
    await world.until(Phase.ROLLED_BACK)
    assert (await world.release()).reason == "gate last failed: the backup is not done"


async def test_harm_is_seen_while_a_gate_runs() -> None:
    """What waits for a gate is watched as ever; the gate is stopped with the release."""
    world = await released(gate("load", before_step=2))
    await world.until(Phase.EXPOSED)
    await world.run(60)
    assert world.gates.running["orders"]
    world.error[(await world.release()).candidate.id] = 0.5
    await world.until(Phase.ROLLED_BACK)
    assert world.gates.running["orders"] == ()


async def test_a_gate_may_hold_until_a_person_passes_over_it() -> None:
    """`then: hold`: nothing is taken back; `resume` goes on as if it had passed; `promote` says what to do instead."""
    world = await released(gate(then=Then.HOLD))
    world.gates.ends["smoke"] = "no answer"
    await world.run(100)
    release = await world.release()
    assert release.phase is Phase.STARTING
    assert release.reason == "gate smoke failed: no answer; held until a person resumes or aborts it"
    promote = await world.say(Verb.PROMOTE)
    assert not promote.accepted
    assert "resume it to go on without that gate" in promote.message
    reply = await world.say(Verb.RESUME)
    assert reply.accepted
    await world.until(Phase.PROMOTED)
    (outcome,) = (await world.release()).gates
    assert (outcome.passed, outcome.why) == (True, "passed over by ada")


async def test_a_gate_of_which_nothing_is_heard_has_failed() -> None:
    """A Job that cannot be made, say: the release does not wait for ever."""
    world = await released(gate(timeout_s=20.0))
    await world.until(Phase.ROLLED_BACK)
    assert (await world.release()).reason == "gate smoke failed: nothing was heard of it within 20 s"


async def test_a_person_who_is_asked_may_overrule_a_gate() -> None:
    """`mode: ask`: a gate that fails under traffic is a question, and the answer stands."""
    world = await released(gate("last", before_step=None), mode=Mode.ASK)
    await world.until(Phase.EXPOSED)
    world.gates.ends["last"] = "no"
    await world.until(Phase.ASKING)
    assert (await world.say(Verb.RESUME)).accepted
    await world.until(Phase.PROMOTED)


async def test_a_version_that_was_proven_good_passes_without_gates() -> None:
    """The way back is never kept up."""
    world = World()
    world.commit("1.0.0")
    await world.run(10)
    world.commit("1.1.0")
    await world.until(Phase.PROMOTED)
    world.commit("1.0.0", with_guard=guard(gates=(gate(),)))
    await world.run(10)
    assert (await world.release()).phase is not Phase.STARTING
    assert world.gates.started == []


@pytest.mark.parametrize("after", range(40))
async def test_a_crash_beside_a_gate_loses_and_repeats_nothing(after: int) -> None:
    """Whichever effect the process dies at, the release ends as without it, and no gate ran for another one."""
    world = await released(gate())
    world.crash_in = after
    for _ in range(4):
        try:
            await world.run(1)
        except Crash:
            world.boot()
    world.crash_in = None
    world.gates.ends["smoke"] = ""
    await world.until(Phase.PROMOTED)
    assert world.gates.started == [("orders-1", "smoke")]

"""The course of the evidence, recomputed from the journal."""

import pytest
from world import World, guard

from sternway.control.replay import replay
from sternway.control.trail import condense, trail
from sternway.domain.guards import JudgeSettings
from sternway.domain.releases import Phase
from sternway.errors import Refused


@pytest.fixture
async def world() -> World:
    """A version with 8 % errors, without a cluster key: withdrawn, exposed again, taken back."""
    world = World(seed=3)
    world.commit("1.0.0")
    await world.run(3)
    world.commit("1.1.0", error=0.08, with_guard=guard(judge=JudgeSettings()))
    await world.until(Phase.ROLLED_BACK, within_s=900)
    await world.run(2)
    return world


async def test_the_course_ends_where_the_judgement_did(world: World):
    """The last numbers are those that condemned; every phase is there, with the share of the traffic."""
    release = await world.release()
    found = trail(release.name, await world.store.entries(release=release.name))
    assert release.judgement is not None
    criterion = release.judgement.criteria[0]
    track = found.tracks[0]
    assert (track.e_values[-1], track.needed) == (criterion.e_value, criterion.needed)
    assert track.e_values[-1] >= track.needed > max(track.e_values[:-3])
    phases = [stretch.phase for stretch in found.stretches]
    assert phases[:4] == ["starting", "exposed", "withdrawn", "exposed"]
    assert phases[-1] == "rolled-back"
    assert sum(phase == "withdrawn" for phase in phases) == release.withdrawals
    assert found.stretches[-1].end_s == found.times_s[-1]
    away = [p for p, at in zip(found.percents, found.times_s, strict=True) if _phase(found, at) == "withdrawn"]
    assert set(away) == {0.0}
    assert found.whole


def _phase(found: object, at_s: float) -> str:
    return next(s.phase for s in reversed(found.stretches) if s.start_s <= at_s)


async def test_suspicion_crosses_its_line_when_the_candidate_is_withdrawn(world: World):
    """At the first look of every withdrawal the evidence of the exposure has reached the line; before, it had not."""
    release = await world.release()
    found = trail(release.name, await world.store.entries(release=release.name))
    track = found.tracks[0]
    for stretch in found.stretches:
        if stretch.phase == "withdrawn":
            at = found.times_s.index(stretch.start_s)
            assert track.exposure_e_values[at] >= track.suspects_at[at]
            assert track.exposure_e_values[at - 1] < track.suspects_at[at - 1]


async def test_what_is_kept_of_a_rolled_up_release_is_small_and_tells_the_same(world: World):
    """A few kilobytes; the same phases, the same peak; a replay says that it cannot be made any more."""
    release = await world.release()
    entries = await world.store.entries(release=release.name)
    whole = trail(release.name, entries)
    world.store._condense = condense
    world.commit("1.2.0")
    await world.until(Phase.PROMOTED, within_s=900)
    await world.store.roll_up(world.clock.now(), keep_releases=1)
    left = await world.store.entries(release=release.name)
    assert len(left) < len(entries)
    found = trail(release.name, left)
    assert not found.whole
    assert found.stretches == whole.stretches
    assert max(found.tracks[0].e_values) == pytest.approx(max(whole.tracks[0].e_values), rel=1e-3)
    (kept,) = (entry.text for entry in left if entry.kind == "evidence")
    assert len(kept) < 8000
    with pytest.raises(Refused):
        replay(release.name, left)


async def test_a_journal_that_was_rolled_up_before_has_at_least_what_changed(world: World):
    """Older journals keep checkpoints alone: fewer looks, the same end."""
    release = await world.release()
    world.commit("1.2.0")
    await world.until(Phase.PROMOTED, within_s=900)
    await world.store.roll_up(world.clock.now(), keep_releases=1)
    found = trail(release.name, await world.store.entries(release=release.name))
    assert not found.whole
    assert found.tracks[0].e_values[-1] >= found.tracks[0].needed
    assert found.stretches[-1].phase == "rolled-back"

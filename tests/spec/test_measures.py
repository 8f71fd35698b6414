"""Figures of releases, out of the journal: what is counted, from when to when, and that nothing is lost or counted twice."""

import random
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from test_measured import missing
from world import MEASURED, World, guard, version

from sternway.control.measures import Books, By, Measured, Totals, measure, measure_ended
from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Mode
from sternway.domain.releases import Phase, Progress, Release, Verb
from sternway.domain.tallies import Reading, Tally
from sternway.ports import Entry
from sternway.web.figures import Figures

LONG = Canary(steps=(CanaryStep(percent=20, min_requests=100_000),))


async def started(**more: object) -> World:
    """Begin a world in which 1.0.0 serves."""
    world = World(**more)  # type: ignore[arg-type]
    world.commit("1.0.0")
    await world.run(5)
    return world


def figures(world: World) -> Figures:
    """Begin to keep figures, as a new process does."""
    return Figures(SimpleNamespace(journal=world.store, reconciler=world.reconciler, clock=world.clock))  # type: ignore[arg-type]


async def last(world: World) -> Measured:
    """Measure the latest release, from the journal alone."""
    return (await figures(world).releases())[-1]


def counts(totals: Totals) -> dict[str, float]:
    """Every figure that must never fall."""
    ends = {f"{phase}, {by}": float(n) for (phase, by), n in totals.outcomes.items()}
    sums = {name: float(getattr(totals, name)) for name in ("withdrawals", "requests", "hurt", "rescued", "blind_s")}
    histograms = {
        f"{name} {bound}": n for name in ("detect", "restore", "revert") for bound, n in getattr(totals, name).buckets()
    }
    return {**ends, **sums, **histograms, "false": totals.false_alarms}


async def test_a_rollback_is_measured_from_its_first_bad_answer():
    """Detected by the first decision that took traffic away, restored when the proxies had it all back, then reverted."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    release, found = await world.release(), await last(world)
    assert (found.phase, found.by) == (Phase.ROLLED_BACK, By.ENGINE)
    assert found.harm_s == release.first_bad_s
    applied = [line.entry for line in world.store.lines if line.entry.kind == "applied"]
    back = [entry.at_s for entry in applied if entry.at_s >= release.decided_s and "1.1.0" not in entry.text]
    assert found.detect_s == release.detected_s - release.first_bad_s
    assert found.restore_s == min(back) - release.first_bad_s
    assert found.revert_s >= found.restore_s >= found.detect_s
    assert measure_ended(release, applied) == found
    assert measure_ended(release, ()) == replace(found, restored_s=release.ended_s)
    assert (found.requests, found.hurt, found.lead_s) == (release.requests, release.hurt, None)


def entries(*steps: tuple[float, str | Release]) -> list[Entry]:
    """Write lines by hand: checkpoints of a release, and what was applied."""
    lines = []
    for seq, (at_s, what) in enumerate(steps, 1):
        more = {"kind": "applied", "text": what} if isinstance(what, str) else {"kind": "pass"}
        if not isinstance(what, str):
            more["progress"] = Progress(service="orders", release=what)
        lines.append(Entry(service="orders", release="orders-1", at_s=at_s, seq=seq, **more))
    return lines


async def test_traffic_that_comes_back_for_a_while_is_not_restored():
    """Withdrawn, exposed again, withdrawn for good: only the last way back counts, and only when it is whole."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0)
    release = replace(await world.until(Phase.ROLLED_BACK), first_bad_s=10.0, exposed_s=5.0, detected_s=11.0)
    stable, both = "traffic: 1.0.0-a 100 %", f"traffic: 1.0.0-a 80 % / {bad.id} 20 %"
    at = {"phase": Phase.EXPOSED, "ended_s": None}
    books = Books()
    for entry in entries(
        (11.0, replace(release, **at, entered_s=5.0, decided_s=None, detected_s=None)),
        (11.1, replace(release, **{**at, "phase": Phase.WITHDRAWN}, entered_s=11.0, decided_s=11.0)),
        (11.2, stable),
        (20.0, replace(release, **at, entered_s=20.0, decided_s=None)),
        (20.1, both),
        (22.0, replace(release, **{**at, "phase": Phase.ROLLING_BACK}, entered_s=22.0, decided_s=22.0)),
        (22.1, f"{both}, shielded"),
        (22.3, f"{stable}, preview {bad.id}"),
        (22.5, stable),
        (24.0, replace(release, entered_s=24.0, decided_s=22.0, ended_s=24.0)),
        (30.0, stable),
    ):
        books.take(entry)
    (found,) = books.releases()
    assert (found.detect_s, found.restore_s) == (1.0, 12.5)


async def test_without_a_line_that_says_so_traffic_is_back_at_the_end_at_the_latest():
    """The process died between the act and its line: the end of a rollback is witnessed by the proxies too."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    release = await world.until(Phase.ROLLED_BACK)
    books = Books()
    books.take(entries((release.ended_s, release))[0])
    (found,) = books.releases()
    assert found.restored_s == release.ended_s


async def test_a_release_that_was_never_exposed_hurt_nobody():
    """It could not run: it is a rollback, and neither a detection nor a restoration is timed."""
    world = await started()
    world.platform.broken["orders:1.1.0"] = "exited with status 1"
    world.commit("1.1.0")
    await world.until(Phase.ROLLED_BACK)
    found = await last(world)
    assert (found.detect_s, found.restore_s, found.revert_s) == (None, None, None)


async def test_a_release_that_gave_way_keeps_all_its_figures():
    """It ends in the pass that begins the next one, of which no line shows its end: it is superseded, and complete."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    await world.run(20)
    before = await world.release()
    world.commit("1.2.0")
    await world.look()
    first, second = await figures(world).releases()
    assert (first.phase, first.by, first.ended_s) == (Phase.SUPERSEDED, By.PERSON, second.started_s)
    assert first.requests == before.requests > 0


@pytest.mark.parametrize("seed", range(6))
async def test_counters_never_fall_and_a_restart_finds_the_same(seed: int):
    """Whatever happens, and whenever it is scraped: each total only grows, and a new process reads the same from the journal."""
    world = await started(seed=seed)
    dice = random.Random(seed)
    kept, before, tag = figures(world), {}, 0
    for _ in range(120):
        if dice.random() < 0.06:
            tag += 1
            settings = {"strategy": dice.choice([LONG, guard().strategy, BlueGreen(), ABTest(header=("x-group", "b"))])}
            world.commit(f"1.{tag}.0", error=dice.choice([0.0, 0.001, 0.2, 1.0]), with_guard=guard(**settings))
        if dice.random() < 0.03:
            await world.say(dice.choice([Verb.ABORT, Verb.PROMOTE, Verb.RETRY, Verb.ROLLBACK, Verb.PAUSE, Verb.RESUME]))
        if dice.random() < 0.02:
            await world.restart()
            kept, before = figures(world), {}
        await world.run(1)
        if dice.random() < 0.7:
            now = counts((await kept.totals()).get("orders", Totals()))
            assert not {name: (was, now.get(name)) for name, was in before.items() if now.get(name, -1.0) < was}
            before = now
    anew = await figures(world).totals()
    assert counts(anew["orders"]) == counts((await kept.totals())["orders"])


async def test_a_rolled_up_journal_gives_the_same_totals():
    """Single passes go, the figures stay."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    world.commit("1.2.0", with_guard=guard(strategy=LONG))
    await world.run(60)
    world.commit("1.3.0")
    await world.until(Phase.PROMOTED)
    before = await figures(world).releases()
    lines = len(world.store.lines)
    await world.store.roll_up(world.clock.now(), keep_releases=1)
    assert len(world.store.lines) < lines
    assert await figures(world).releases() == before


async def test_what_a_person_ended_is_told_apart():
    """Aborted, or rolled back after its promotion: by a person; the second is timed from the command."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    await world.say(Verb.ABORT)
    await world.until(Phase.ROLLED_BACK)
    assert ((await last(world)).by, (await last(world)).of_stable) == (By.PERSON, False)
    world.commit("1.2.0")
    await world.until(Phase.PROMOTED)
    assert (await last(world)).by is By.ENGINE
    await world.say(Verb.ROLLBACK)
    await world.until(Phase.ROLLED_BACK)
    found = await last(world)
    assert (found.by, found.of_stable, found.detect_s) == (By.PERSON, True, None)
    assert found.restore_s is not None


async def test_a_version_that_is_promoted_after_a_retry_was_a_false_alarm():
    """The retry alone says nothing yet; a person's own rollback is no alarm."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    world.push(bad, guard=guard())
    assert (await world.say(Verb.RETRY)).accepted
    assert (await figures(world).totals())["orders"].false_alarms == 0
    world.error[bad.id] = 0.0
    kept = figures(world)
    await kept.totals()
    await world.until(Phase.PROMOTED)
    assert (await kept.totals())["orders"].false_alarms == 1
    assert [one.false_alarm for one in await kept.releases()] == [True, False]


async def test_people_say_that_a_rollback_was_wrong():
    """It is counted, also after a restart; twice, of another service or of what was not rolled back is refused."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    kept = figures(world)
    assert (await kept.totals())["orders"].false_alarms == 0
    reply = await world.say(Verb.FALSE_ALARM, to="orders-1")
    assert reply.accepted
    assert "sternway retry orders" in reply.message
    assert not (await world.say(Verb.FALSE_ALARM, to="orders-1")).accepted
    assert not (await world.say(Verb.FALSE_ALARM, to="shop-1")).accepted
    assert not (await world.say(Verb.FALSE_ALARM)).accepted
    assert (await kept.totals())["orders"].false_alarms == 1
    await world.restart()
    assert (await figures(world).totals())["orders"].false_alarms == 1
    world.commit("1.2.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    refused = await world.say(Verb.FALSE_ALARM, to="orders-2")
    assert (refused.accepted, "orders-2 is exposed" in refused.message) == (False, True)


async def test_blind_time_adds_up_over_all_that_cannot_be_seen():
    """It runs while something is out of sight, stands while everything is seen, and goes on where it stood."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(judge=MEASURED, strategy=LONG))
    await world.until(Phase.EXPOSED)
    await world.run(5)
    spells = []
    for _ in range(2):
        began_s = (await figures(world).totals())["orders"].blind_s
        world.signals.unseen = missing(world)
        await world.run(10)
        world.signals.unseen = ()
        await world.run(5)
        rested_s = (await figures(world).totals())["orders"].blind_s
        await world.run(10)
        assert (await figures(world).totals())["orders"].blind_s == rested_s
        spells.append(rested_s - began_s)
    assert spells == [pytest.approx(10, abs=2), pytest.approx(10, abs=2)]


async def test_what_stable_answered_instead_is_rescued_and_hurts_nobody():
    """Every bad answer of a shielded candidate is one of the two."""
    world = await started()
    world.commit("1.1.0", error=0.5, with_guard=guard(strategy=LONG, mode=Mode.ASK))
    await world.until(Phase.ASKING)
    found = await last(world)
    assert found.rescued > 0
    assert found.rescued + found.hurt <= found.requests


async def test_copies_of_requests_are_no_requests_of_callers():
    """Where not all answers went to callers, nobody knows which bad one somebody would have got: it is not called rescued."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)

    async def rescued(answers: int, failed: int, told: int, hurt: int) -> int:
        before = (await world.release()).rescued
        world.clock.sleep(1)
        now_s = world.clock.now()
        tally = partial(Tally, version=new.id, start_s=now_s - 1, end_s=now_s)
        tallies = (
            tally(criterion="errors", total=answers, bad=failed),
            tally(criterion="hurt", total=told, bad=hurt),
        )
        world.signals.readings["orders"] = Reading(tallies=tallies)
        await world.look()
        return (await world.release()).rescued - before

    assert await rescued(10, 3, 10, 1) == 2
    assert await rescued(20, 3, 10, 1) == 0


async def test_a_release_that_fails_as_soon_as_it_begins_is_no_rollback_of_stable():
    """Only a person takes back what was promoted."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    release = await world.until(Phase.ROLLED_BACK)
    assert not measure(replace(release, detected_s=release.started_s)).of_stable


async def test_a_scrape_in_the_middle_of_a_pass_counts_nothing_twice_and_nothing_less():
    """Memory is ahead of the journal then. A beginning counts once its line is there, with all that it says of the one before."""
    world = await started()
    states: list[Progress] = []
    for tag, more in (("1.1.0", {"strategy": LONG}), ("1.2.0", {"strategy": LONG}), ("1.3.0", {})):
        world.commit(tag, error=1.0 if tag == "1.3.0" else 0.0, with_guard=guard(**more))
        for _ in range(12):
            await world.run(1)
            states.append(await world.progress())
    await world.until(Phase.ROLLED_BACK)
    states.append(await world.progress())
    lines = [line.entry for line in world.store.lines]
    known = Books()
    for line in lines:
        known.take(line)
    early, before, ahead = Books(), {}, iter(states)
    for line in lines:
        early.take(line)
        for state in ahead:  # what memory holds before the next line is written
            early.now(state)
            now = counts(early.totals(0.0).get("orders", Totals()))
            assert not {name: was for name, was in before.items() if now[name] < was}
            before = now
            if state.release is not None and state.release.entered_s > line.at_s:
                break
    assert early.releases() == known.releases()
    assert [one.phase for one in known.releases()] == [Phase.SUPERSEDED, Phase.SUPERSEDED, Phase.ROLLED_BACK]
    assert counts(early.totals(0.0)["orders"]) == counts(known.totals(0.0)["orders"])


async def test_a_line_that_is_older_than_what_memory_said_takes_nothing_back():
    """A scrape reads the journal first: a checkpoint of that moment is read by the next one, after later figures are known."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=LONG))
    release = await world.until(Phase.EXPOSED)
    books = Books()
    first, older = entries((1.0, release), (2.0, replace(release, entered_s=release.entered_s + 1, requests=90)))
    books.take(first)
    books.now(Progress(service="orders", release=replace(release, entered_s=release.entered_s + 1, requests=100)))
    books.take(older)
    assert books.releases()[0].requests == 100


async def test_the_lead_time_begins_with_the_commit():
    """From when the commit was made to the promotion, the bake included."""
    world = await started()
    committed_s = world.clock.now() - 100
    world.push(version("1.1.0"), committed_s=committed_s)
    release = await world.until(Phase.PROMOTED)
    assert (await last(world)).lead_s == release.ended_s - committed_s

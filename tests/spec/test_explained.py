"""A decision says which answers it rests on and what would have changed it."""

from dataclasses import replace

from world import World, guard

from sternway.domain.blame import KINDS_AT_MOST, merged, which_answers
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Verdict
from sternway.domain.releases import Phase
from sternway.domain.tallies import BadAnswers

ONE = BadAnswers(criterion="errors", how="500", replica="r1", caller="web", count=3, first_s=10.0, last_s=12.0)
KEYLESS = guard(judge=JudgeSettings(latency_quantiles=()))


class Told(World):
    """Users whose bad answers are told in full."""

    def _reading(self, *args: object) -> object:
        reading = super()._reading(*args)
        at_s, candidate = self.clock.now(), self.git.now.version.id
        bad = sum(t.bad for t in reading.tallies if t.version == candidate and t.criterion == "hurt")
        told = (replace(ONE, count=bad, first_s=at_s, last_s=at_s),) if bad else ()
        return replace(reading, bad_answers=told)


async def _rolled_back(**changes: object) -> Told:
    world = Told()
    world.commit("1.0.0")
    await world.run(3)
    world.commit("1.1.0", error=0.5, with_guard=guard(shield=replace(guard().shield, enabled=False), **changes))
    await world.until(Phase.ROLLED_BACK)
    return world


async def test_the_revert_says_which_answers_decided_and_what_would_have_changed_it():
    """Who reads the commit needs no other page to know why."""
    world = await _rolled_back()
    release = await world.release()
    (revert,) = world.history.reverts
    count = sum(one.count for one in release.bad_answers)
    assert count == release.hurt
    assert f"{count} bad answer" in revert.body
    assert f"{count} x 500; {count} by r1; {count} to web." in revert.body
    assert release.judgement is not None
    assert release.judgement.otherwise is not None
    told = release.judgement.otherwise.sentence
    assert told
    assert f"{told[:1].upper()}{told[1:]}." in revert.body


async def test_what_would_have_spared_it_stays_while_the_suspicion_stands_and_goes_with_it():
    """Said when the candidate is withdrawn, kept for as long as it is, and asked anew when it is exposed again."""
    world = Told()
    world.commit("1.0.0")
    await world.run(3)
    shield = replace(guard().shield, enabled=False)
    world.commit("1.1.0", error=0.3, with_guard=replace(KEYLESS, shield=shield))
    release = await world.until(Phase.WITHDRAWN)
    assert release.judgement is not None
    assert release.judgement.verdict is Verdict.SUSPECT
    told = release.judgement.otherwise
    assert told is not None
    assert "withdrawn then" in told.sentence
    await world.run(2)
    again = (await world.release()).judgement
    assert again is not None
    assert again.otherwise == told


def test_what_looks_alike_adds_up_and_the_number_of_kinds_is_bounded():
    """Whatever comes in: at most a dozen kinds for a criterion, and one for the rest; no answer is lost."""
    again = replace(ONE, count=2, first_s=5.0, last_s=11.0)
    assert merged((ONE,), (again,)) == (replace(ONE, count=5, first_s=5.0, last_s=12.0),)
    many = [replace(ONE, caller=f"c{number}") for number in range(100)]
    found = merged((), many)
    assert len(found) == KINDS_AT_MOST + 1
    assert sum(one.count for one in found) == 300
    assert found[-1].how == "other"


def test_words_name_the_largest_shares_first():
    """How, by whom and to whom, of the criterion that decided alone."""
    found = (
        ONE,
        replace(ONE, how="time-out", replica="r2", count=4, last_s=17.2),
        replace(ONE, criterion="latency-p99", how="slow", count=50),
    )
    assert (
        which_answers(found, "errors-objective")
        == "7 bad answers within 7.2 s: 4 x time-out, 3 x 500; 4 by r2, 3 by r1; 7 to web"
    )
    assert which_answers(found, "latency-p99") == "50 slow answers within 2.0 s: 50 by r1; 50 to web"
    assert which_answers(found, None) == ""

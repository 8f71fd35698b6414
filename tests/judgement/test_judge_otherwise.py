"""What would have changed the judge's mind: every number is held against the judge itself, asked with other readings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from judge_traffic import CANDIDATE, KEYED, KEYLESS, QUANTILES, Answer, batches, bernoulli, reading, start, tally

from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings, Objectives
from sternway.domain.judgements import Judgement, Otherwise, Verdict
from sternway.domain.tallies import Reading, Unit
from sternway.judgement import begin_exposure, judge, question, spared, to_come

SHARE = 0.1
SLOWNESS = JudgeSettings(latency_quantiles=(0.9,))
OBJECTIVE = JudgeSettings(latency_quantiles=(), objectives=Objectives(availability_percent=99.9))


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, what it was taken from, and what the judge says of it."""

    settings: JudgeSettings
    before: Evidence
    seen: Reading
    now_s: float
    judged: Judgement
    otherwise: Otherwise | None

    def again(self, change: Callable[[Reading], Reading]) -> Verdict:
        """Ask the judge with another reading."""
        return judge(self.settings, self.before, change(self.seen), now_s=self.now_s)[1].verdict


def decisions(settings: JudgeSettings, answers: Iterator[Answer], *, every_s: float, for_s: float) -> Iterator[Decided]:
    """Let the judge look, and give each decision; after a suspicion the candidate is exposed again at once."""
    evidence = start(settings, QUANTILES)
    asked = question(settings, evidence, candidate_percent=100 * SHARE)
    last_s = began_s = None
    for now_s, batch in batches(answers, every_s):
        began_s = now_s if began_s is None else began_s
        seen = reading(batch, asked, start_s=last_s or now_s - every_s, end_s=now_s)
        last_s, before = now_s, evidence
        evidence, judged = judge(settings, evidence, seen, now_s=now_s)
        if judged.verdict in (Verdict.SUSPECT, Verdict.HARMFUL):
            asked_again = spared(settings, before, seen, judged, now_s=now_s)
            yield Decided(settings, before, seen, now_s, judged, asked_again)
            evidence = begin_exposure(evidence)
        if judged.verdict is Verdict.HARMFUL or now_s - began_s > for_s:
            return


def _slow(answers: Iterator[Answer], rng: random.Random) -> Iterator[Answer]:
    """Answers of the candidate are slow in three of ten cases, those of stable in one."""
    for one in answers:
        yield replace(one, bad=False, ms=200.0 if rng.random() < (0.3 if one.candidate else 0.1) else 20.0)


def _found(settings: JudgeSettings, *, candidate: float, seed: int, every_s: float) -> list[Decided]:
    rng = random.Random(seed)
    keyed = settings.cluster_key is not None
    arms = 0 if keyed else 9
    answers = bernoulli(rng, rate_per_s=200, share=SHARE, stable=0.001, candidate=candidate, keyed=keyed, arms=arms)
    if settings.latency_quantiles:
        answers = _slow(answers, rng)
    return list(decisions(settings, answers, every_s=every_s, for_s=300))


def _fewer(name: str, fewer: int) -> Callable[[Reading], Reading]:
    def change(seen: Reading) -> Reading:
        return Reading(
            tallies=tuple(
                replace(one, bad=max(0, one.bad - fewer))
                if one.version == CANDIDATE and one.criterion == name and one.arm is None
                else one
                for one in seen.tallies
            )
        )

    return change


def _more(more: int, asked: tuple[str, ...], *, keyed: bool) -> Callable[[Reading], Reading]:
    def change(seen: Reading) -> Reading:
        at_s = seen.tallies[0].end_s
        units = (Unit.REQUEST, Unit.CLUSTER) if keyed else (Unit.REQUEST,)
        good = [
            tally(
                candidate=True, total=more, bad=0, at_s=at_s, start_s=seen.tallies[0].start_s, criterion=name, unit=unit
            )
            for name in asked
            for unit in units
        ]
        return Reading(tallies=(*seen.tallies, *good))

    return change


CASES = {
    "by the key": (KEYED, 0.05),
    "total failure by the key": (KEYED, 1.0),
    "by rounds": (KEYLESS, 0.05),
    "total failure by rounds": (KEYLESS, 1.0),
    "by slowness": (SLOWNESS, 0.0),
    "by an objective": (OBJECTIVE, 0.03),
}


@pytest.mark.parametrize(("settings", "candidate"), CASES.values(), ids=CASES.keys())
def test_the_judge_itself_confirms_every_number(settings: JudgeSettings, candidate: float):
    """With the numbers told it would not have decided so; with one bad answer more, or one good less, it would."""
    checked = 0
    for seed in range(4):
        for one in _found(settings, candidate=candidate, seed=seed, every_s=1.0):
            told, verdict = one.otherwise, one.judged.verdict
            assert told is not None
            name = (one.judged.criterion or "").removesuffix("-objective")
            open_blocks = any(c.block.candidate_bad for c in (*one.before.compared, *one.before.limited))
            open_blocks |= one.before.race.block.candidate_bad > 0
            worse = {Verdict.HARMFUL} if verdict is Verdict.HARMFUL else {Verdict.HARMFUL, Verdict.SUSPECT}
            if told.fewer_bad is not None and not open_blocks:
                assert one.again(_fewer(name, told.fewer_bad)) not in worse
                assert one.again(_fewer(name, told.fewer_bad - 1)) in worse
                checked += 1
            if told.more_good is not None:
                names = ("errors", *(c.name for c in one.before.compared if c.name != "errors"))
                keyed = settings.cluster_key is not None
                assert one.again(_more(told.more_good, names, keyed=keyed)) not in worse
                assert one.again(_more(told.more_good - 1, names, keyed=keyed)) in worse
                checked += 1
    assert checked >= 4


def test_bad_answers_that_waited_in_an_open_block_count_as_well():
    """Nine failures are read before stable has answered enough to weigh them; the look that weighs them has none."""
    before = start(KEYED)
    units = (Unit.REQUEST, Unit.CLUSTER)
    bad = [tally(candidate=True, total=9, bad=9, at_s=1.0, start_s=0.0, unit=unit) for unit in units]
    before, judged = judge(KEYED, before, Reading(tallies=tuple(bad)), now_s=1.0)
    assert judged.verdict is Verdict.UNDECIDED
    good = [tally(candidate=False, total=200, bad=0, at_s=2.0, start_s=1.0, unit=unit) for unit in units]
    seen = Reading(tallies=tuple(good))
    _, judged = judge(KEYED, before, seen, now_s=2.0)
    told = spared(KEYED, before, seen, judged, now_s=2.0)
    assert judged.verdict is Verdict.HARMFUL
    assert told is not None
    assert told.fewer_bad is not None
    assert 1 < told.fewer_bad < 9
    assert told.sentence.startswith(f"with {told.fewer_bad} bad answers fewer")


@pytest.mark.parametrize("settings", [KEYED, KEYLESS], ids=["by the key", "without a key"])
def test_so_many_bad_answers_in_a_row_do_it_and_one_fewer_does_not(settings: JudgeSettings):
    """After a hundred good answers, the number told withdraws the candidate: the judge itself is asked."""
    evidence = start(settings)
    units = (Unit.REQUEST, Unit.CLUSTER) if settings.cluster_key else (Unit.REQUEST,)

    def look(evidence: Evidence, ours: int, bad: int, theirs: int, now_s: float) -> tuple[Evidence, Judgement]:
        told = [tally(candidate=True, total=ours, bad=bad, at_s=now_s, unit=unit) for unit in units]
        told += [tally(candidate=False, total=theirs, bad=0, at_s=now_s, unit=unit) for unit in units]
        told += [tally(candidate=False, total=max(1, theirs // 9), bad=0, at_s=now_s, arm=arm) for arm in range(9)]
        return judge(settings, evidence, Reading(tallies=tuple(told)), now_s=now_s)

    evidence, _ = look(evidence, 100, 0, 900, 100.0)
    told = to_come(settings, evidence, candidate_percent=10.0)
    assert told is not None
    assert told.withdraws is not None
    few, enough = (look(evidence, k, k, 9 * k, 110.0)[1].verdict for k in (told.withdraws - 1, told.withdraws))
    assert few is Verdict.UNDECIDED
    assert enough in (Verdict.SUSPECT, Verdict.HARMFUL)


def test_without_traffic_or_without_stable_beside_it_nothing_is_foretold():
    """Nobody can say what comes when the candidate answers nothing, or stable does."""
    assert to_come(KEYED, start(KEYED), candidate_percent=0.0) is None
    assert to_come(KEYED, start(KEYED), candidate_percent=100.0) is None


def test_a_judgement_that_decides_nothing_has_nothing_to_be_spared():
    """Only a withdrawal or a condemnation is asked about."""
    evidence, judged = judge(KEYED, start(KEYED), Reading(), now_s=1.0)
    assert spared(KEYED, evidence, Reading(), judged, now_s=1.0) is None

"""Rounds of the candidate against placebo arms: sure without knowing how errors cluster. Called by `fold`.

Placebo arms are cut from stable's traffic, each as large as the candidate's. If the candidate is no worse, they and
it are exchangeable, whatever the shape of clusters, bursts or common trouble. The share mixture runs for every arm
against all the others until the first one reaches `suspicion`: that ends the round. When it is the candidate, it is
suspected. Each round is one bet on "the candidate is first", fair at 1 in K; their wealth condemns.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

from sternway.domain.evidence import Arm, Counts, Race
from sternway.domain.guards import JudgeSettings
from sternway.judgement.blocks import block_ends, elapsed
from sternway.judgement.counting import NOTHING
from sternway.stats.shares import BETS, TwoArms, share_log_factors
from sternway.stats.wealth import grow, log_sum, log_wealth, new_wealth

PLACEBO_ARMS = 9
CANDIDATE = -1
STAKES = (0.3, 0.6, 0.9)
# In requests of the candidate, which come as often as those of any arm. An arm that appears later than this is not
# in the round; one that was quiet for so long has left it; one that is quiet at the finish is not counted then.
JOINS_WITHIN, GONE_AFTER, COUNTED_WITHIN = 8, 16, 3


def new_race() -> Race:
    """Nothing seen, nothing staked."""
    return Race(arms=(new_arm(CANDIDATE),), bets=tuple(0.0 for _ in STAKES))


def new_arm(index: int) -> Arm:
    """Put a runner at the start."""
    return Arm(index=index, wealth=new_wealth(BETS))


def new_round(race: Race, *, resting: int = CANDIDATE) -> Race:
    """Keep the bets, and give a fresh start to every arm.

    A placebo arm that was just first rests for a round: the storm of errors in it may go on, and would cost a second
    bet for the same trouble. The others are as exchangeable without it.
    """
    return replace(race, since_s=None, block=NOTHING, arms=(new_arm(CANDIDATE),), seen=0, won=False, resting=resting)


def log_race_wealth(race: Race) -> float:
    """Return the natural logarithm of the evidence of all rounds."""
    return log_sum(race.bets) - log(len(race.bets))


def arms_in_force(race: Race) -> int:
    """How many placebo arms take part in the round for sure."""
    return sum(1 for arm in race.arms[1:] if arm.quiet < COUNTED_WITHIN)


def run(
    settings: JudgeSettings,
    race: Race,
    counts: Counts,
    arms: dict[int, tuple[int, int]],
    *,
    start_s: float,
    now_s: float,
) -> Race:
    """Add counts to the open block; weigh it when it ends; end the round when an arm reaches suspicion."""
    if race.won:
        return replace(race, release=race.release + counts)
    if counts is NOTHING and race.since_s is None:
        return race
    since_s = start_s if race.since_s is None else race.since_s
    race = replace(
        race,
        since_s=since_s,
        block=race.block + counts,
        release=race.release + counts,
        arms=_add(race, counts, arms),
    )
    if not block_ends(race.block, since_s=since_s, now_s=now_s):
        return race
    return _finish(settings, _weigh(settings, race, elapsed(since_s=since_s, now_s=now_s)))


def _add(race: Race, counts: Counts, counted: dict[int, tuple[int, int]]) -> tuple[Arm, ...]:
    lead = race.arms[0]
    runners = [replace(lead, total=lead.total + counts.candidate_total, bad=lead.bad + counts.candidate_bad)]
    known = {arm.index for arm in race.arms}
    for arm in race.arms[1:]:
        total, bad = counted.get(arm.index, (0, 0))
        runners.append(replace(arm, total=arm.total + total, bad=arm.bad + bad) if total else arm)
    if race.seen < JOINS_WITHIN:
        runners += [
            replace(new_arm(index), total=total, bad=bad)
            for index, (total, bad) in sorted(counted.items())
            if index not in known and index != race.resting
        ]
    return tuple(runners)


def _weigh(settings: JudgeSettings, race: Race, passed_s: float) -> Race:
    block = race.block
    total = block.candidate_total + block.stable_total
    bad = block.candidate_bad + block.stable_bad
    passed_s = passed_s if block.candidate_total else 0.0
    weighed: list[Arm] = []
    for arm in race.arms:
        # The margins handicap the candidate alone: they can only make it later, never first.
        ours = arm.index == CANDIDATE
        factors = share_log_factors(
            TwoArms(total1=arm.total, bad1=arm.bad, total0=total - arm.total, bad0=bad - arm.bad),
            tolerance=1.0 + settings.worse_than_percent / 100.0 if ours else 1.0,
            floor=settings.and_percent / 100.0 if ours else 0.0,
        )
        quiet = 0 if ours or arm.total else arm.quiet + block.candidate_total
        if quiet < GONE_AFTER:
            wealth = grow(arm.wealth, factors, elapsed_s=passed_s)
            weighed.append(Arm(index=arm.index, quiet=quiet, wealth=wealth))
    return replace(race, since_s=None, block=NOTHING, arms=tuple(weighed), seen=race.seen + block.candidate_total)


def _finish(settings: JudgeSettings, race: Race) -> Race:
    heights = [log_wealth(arm.wealth) for arm in race.arms]
    if max(heights) < log(settings.suspicion):
        return race
    fastest = max(range(1, len(heights)), key=heights.__getitem__, default=0)
    if fastest and heights[0] <= heights[fastest]:
        bets = tuple(bet + log(1.0 - stake) for bet, stake in zip(race.bets, STAKES, strict=True))
        return new_round(replace(race, bets=bets, finished=race.finished + 1), resting=race.arms[fastest].index)
    others = arms_in_force(race)
    if not others:
        return replace(race, won=True)
    bets = tuple(bet + log(1.0 + others * stake) for bet, stake in zip(race.bets, STAKES, strict=True))
    return replace(race, bets=bets, won=True, finished=race.finished + 1, first=race.first + 1)

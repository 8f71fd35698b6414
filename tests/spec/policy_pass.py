"""Some policies, and a pass that is taken twice, with and without policies: where the free one takes traffic away, so does the other."""

from dataclasses import replace

from sternway.domain.policies import Point, Policy, Requirements, Window
from sternway.domain.releases import Observation, Phase, Progress
from sternway.engine.step import Step, step

ALWAYS = Window(zone="UTC", weekly=((0, 7 * 24 * 60),))
FROZEN = Policy(name="year-end", freeze=(ALWAYS,))
FINISHES = Policy(name="weekend", freeze=(replace(ALWAYS, finishes=True),))
APPROVED = Policy(name="two-eyes", approve=(Point.PROMOTION,))
SHOWN_FIRST = Policy(name="ask-first", approve=(Point.EXPOSURE,))
LONG_BAKES = Policy(name="long-bakes", require=Requirements(bake_s=3600.0))

AWAY = (Phase.WITHDRAWN, Phase.ASKING, Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def checked_step(progress: Progress, seen: Observation) -> Step:
    """Take a pass; invariant 1 in one comparison."""
    bound = step(progress, seen)
    if not seen.bars or progress.release is None or progress.release.phase.over:
        return bound
    free = step(progress, replace(seen, bars=()))
    before, after, other = progress.release, free.progress.release, bound.progress.release
    assert after is not None
    assert other is not None
    if after.name == before.name and after.phase in AWAY:
        assert other.name == before.name
        assert other.phase in AWAY, f"free: {after.phase} ({after.reason}), with policies: {other.phase}"
        assert _share(bound, before.candidate.id) <= _share(free, before.candidate.id)
    return bound


def _share(taken: Step, version: str) -> float:
    plan = taken.decision.traffic
    return plan.split.percent(version) if plan else 0.0

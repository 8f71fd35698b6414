"""What a policy may keep up: the ways forward, and no other. Pure; used by `follow`, `advance` and `commands`.

Nothing here is asked on a way back: no policy delays a withdrawal, a rollback or an abort (invariant 1).
"""

from __future__ import annotations

import math

from sternway.domain.policies import Bar, Point, Rule
from sternway.domain.releases import Observation, Progress
from sternway.domain.versions import Version
from sternway.engine.transitions import Trigger

KEEP_CONSENTS = 50

_ALL = (Point.MOVE, Point.EXPOSURE, Point.PROMOTION)
PASSED_BY: dict[Trigger, tuple[Point, ...]] = {
    Trigger.READY_TO_MIRROR: (Point.MOVE,),
    Trigger.READY_TO_PREVIEW: (Point.MOVE,),
    Trigger.READY_TO_EXPOSE: (Point.MOVE, Point.EXPOSURE),
    Trigger.READY_TO_RETURN: _ALL,
    Trigger.NEXT_STEP: (Point.MOVE,),
    Trigger.SWITCH: _ALL,
    Trigger.OVERRULED: (Point.MOVE,),
    Trigger.OVERRULED_AT_ALL: _ALL,
    Trigger.BAKED: (Point.MOVE,),
}
"""Which points a move passes; mirrors and previews have no users. A move that is not named here is never kept up.

A second look is none: without it a suspected version would be condemned, and taken back in Git, only after the freeze.
"""


def barred(progress: Progress, version: Version, seen: Observation, *points: Point) -> Bar | None:
    """What keeps a version from passing any of these points now; the bar that stays longest.

    A version that was proven good before is a way back, and free.
    """
    if any(good.id == version.id for good in progress.good):
        return None
    passed = {consent.rule for consent in progress.consents if consent.version == version.id}
    against = [bar for bar in seen.bars if bar.rule not in passed and any(point in bar.points for point in points)]
    return max(against, key=lambda bar: math.inf if bar.until_s is None else bar.until_s, default=None)


def let_pass(progress: Progress, version: Version, seen: Observation, *points: Point) -> str:
    """Who let it pass these points, in words to follow a reason; "" where nobody was asked."""
    asked = {bar.rule for bar in seen.bars if any(point in bar.points for point in points)}
    said = [str(one) for one in progress.consents if one.version == version.id and one.rule in asked]
    return "".join(f"; {one}" for one in said)


def how_to_pass(bar: Bar, service: str) -> str:
    """What a person can do about a bar."""
    if bar.rule is Rule.FREEZE:
        return f"`sternway override {service} --reason …` lets this version pass"
    if bar.rule is Rule.APPROVAL:
        return f"`sternway approve {service}`"
    return "mend the Guard"

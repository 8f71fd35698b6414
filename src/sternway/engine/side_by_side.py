"""How many replicas each version has where they share one workload's, and how much traffic those carry. Pure.

In a StatefulSet or DaemonSet one replica more of the candidate is one less of stable. Reckoned as in any rolling update: all but one carry
everything, since one may always be on its way. Used by `advance` and `world`; where every version has replicas of its own, nothing
here changes anything.
"""

from __future__ import annotations

import math
from dataclasses import replace

from sternway.domain.releases import Observation, Phase, Progress, Release
from sternway.engine.exposure import percent_of_step, ready, rounded

_EXPOSED = (Phase.EXPOSED, Phase.BAKING)


def side_by_side(seen: Observation) -> bool:
    """Whether versions share the replicas of one workload."""
    return seen.wanted is not None and seen.wanted.in_place


def carrying(progress: Progress, seen: Observation) -> int:
    """How many replicas carry all traffic."""
    return max(1, progress.stable_replicas - 1) if side_by_side(seen) else progress.stable_replicas


def candidates(progress: Progress, release: Release, seen: Observation) -> int:
    """How many replicas the candidate has: what its share needs, at least one, and one less than all at most.

    While it is exposed none is taken from it: a share that sways would start replicas anew again and again.
    """
    if release.phase is Phase.ROLLING_BACK:
        return 0
    if release.phase is Phase.MIRRORING and release.guard.mirror is not None:
        needed = _needed(release.guard.mirror.percent, progress, seen)
    elif release.phase in _EXPOSED:
        has = (one.desired for one in seen.workloads if one.workload_id == release.candidate.workload.id)
        needed = max(_needed(percent_of_step(progress, release), progress, seen), *has, 1)
    else:
        needed = 1
    return max(1, min(needed, progress.stable_replicas - 1))


def weighed(progress: Progress, release: Release, seen: Observation) -> Release:
    """The release with the candidate's share: what its step says, and no more than its ready replicas carry."""
    percent = percent_of_step(progress, release)
    if side_by_side(seen) and release.phase in _EXPOSED:
        most = 100.0 * ready(seen, release.candidate) / carrying(progress, seen)
        percent = min(percent, rounded(most))
    return replace(release, percent=percent)


def short_of_replicas(progress: Progress, release: Release, seen: Observation) -> bool:
    """Whether the candidate has less than its step says, because its replicas are still on their way."""
    return side_by_side(seen) and release.percent < percent_of_step(progress, release) - 0.01


def _needed(percent: float, progress: Progress, seen: Observation) -> int:
    return math.ceil(percent * carrying(progress, seen) / 100.0 - 1e-9)

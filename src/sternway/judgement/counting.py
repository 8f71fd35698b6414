"""A reading's counts, as columns: what the judge takes from tallies. Called by `fold`.

Tallies of other versions and of criteria that nobody asked for are left out; tallies of the same kind add up.
"""

from __future__ import annotations

import numpy as np

from sternway.domain.evidence import Evidence
from sternway.domain.tallies import Reading, Unit
from sternway.judgement.blocks import CANDIDATE_TOTAL, STABLE_TOTAL
from sternway.judgement.columns import Batch
from sternway.judgement.rounds import PLACEBO_ARMS

_NONE = [0, 0, 0, 0]


def count(evidence: Evidence, reading: Reading, *, now_s: float) -> Batch:
    """Sum up a reading, as a batch of one."""
    sums: dict[tuple[str, str], list[int]] = {}
    races = (evidence.race.name, *(race.name for race in evidence.others))
    arms = np.zeros((1, len(races), PLACEBO_ARMS, 2), dtype=np.int64)
    start_s, answered = now_s, False
    for tally in reading.tallies:
        if tally.version == evidence.candidate and tally.arm is None:
            at = CANDIDATE_TOTAL
        elif tally.version == evidence.stable:
            at = STABLE_TOTAL
        else:
            continue
        start_s = min(start_s, tally.start_s)
        if tally.arm is not None:
            if tally.criterion in races and tally.unit is Unit.REQUEST and 0 <= tally.arm < PLACEBO_ARMS:
                arms[0, races.index(tally.criterion), tally.arm] += (tally.total, tally.bad)
            continue
        numbers = sums.setdefault((tally.criterion, tally.unit.value), [0, 0, 0, 0])
        numbers[at] += tally.total
        numbers[at + 1] += tally.bad
        answered = answered or (at == CANDIDATE_TOTAL and tally.total > 0)
    # A reading begins where the last one ended, whatever its tallies say; a clock that jumps counts as no time.
    if evidence.now_s <= now_s:
        start_s = max(start_s, evidence.now_s)
    request = Unit.REQUEST.value
    compared = [sums.get((one.name, one.unit), _NONE) for one in evidence.compared]
    limited = [sums.get((one.name, request), _NONE) for one in evidence.limited]
    return Batch(
        start_s=np.array([start_s]),
        answered=np.array([answered]),
        errors=np.array([[sums.get((name, request), _NONE) for name in races]], dtype=np.int64),
        compared=np.array(compared, dtype=np.int64).reshape(1, -1, 4),
        limited=np.array(limited, dtype=np.int64).reshape(1, -1, 4),
        arms=arms,
    )

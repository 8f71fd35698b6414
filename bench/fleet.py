"""Ten thousand releases judged side by side: what an update of all of them takes on one core, and how large one is.

Each update is a tenth of a second of traffic: two requests to each arm, one in a hundred bad. The goal is ten updates
a second on one core.
"""

from __future__ import annotations

import time
from dataclasses import fields, is_dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.results import Result
from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import ClusterKey
from sternway.judgement import begin, columns
from sternway.judgement.budget import budget
from sternway.judgement.rounds import PLACEBO_ARMS

RELEASES = 10_000
TICK_S = 0.1
REQUESTS, BAD = 2.0, 0.01
STABLE_MS = ((0.5, 10.0), (0.9, 30.0), (0.99, 80.0))
KINDS = {
    "errors without a key": JudgeSettings(latency_quantiles=(), alone=()),
    "errors by a key": JudgeSettings(latency_quantiles=(), alone=(), cluster_key=ClusterKey(header="x-user")),
    "every default criterion": JudgeSettings(),
}


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Time updates of the whole fleet."""
    results = []
    for name, settings in KINDS.items():
        evidence = begin(settings, stable="s", candidate="c", stable_ms=STABLE_MS, control=True)
        took_s, size = _judge(settings, evidence, updates=10 if quick else 40)
        results += [
            Result(name=f"10,000 releases, {name}: one update", value=round(took_s * 1e3, 1), unit="ms", goal=100.0),
            Result(name=f"state of one release, {name}", value=round(size), unit="bytes"),
        ]
    return results


def _judge(settings: JudgeSettings, evidence: Evidence, *, updates: int) -> tuple[float, float]:
    rng = np.random.default_rng(1)
    spent = budget(settings, history=False)
    state = columns.pack([evidence] * RELEASES)
    concurrent = np.ones(RELEASES, dtype=bool)
    took = []
    for update in range(updates):
        now_s = np.full(RELEASES, 1_000_000.0 + TICK_S * update)
        batch = _traffic(rng, evidence, now_s)
        began_s = time.process_time()
        state = columns.fold(settings, spent, state, batch, now_s=now_s, concurrent=concurrent)
        state = columns.suspect(state, columns.stand(spent, state, concurrent=concurrent).suspected)
        took.append(time.process_time() - began_s)
    return median(took[updates // 4 :]), _bytes(state) / RELEASES


def _traffic(rng: np.random.Generator, evidence: Evidence, now_s: Any) -> columns.Batch:
    totals = rng.poisson(REQUESTS, (RELEASES, 1 + PLACEBO_ARMS))
    bads = rng.binomial(totals, BAD)
    errors = np.stack((totals[:, 0], bads[:, 0], totals[:, 1:].sum(1), bads[:, 1:].sum(1)), axis=1)
    arms, races = np.stack((totals[:, 1:], bads[:, 1:]), axis=-1), 1 + len(evidence.others)
    return columns.Batch(
        start_s=now_s - TICK_S,
        answered=totals[:, 0] > 0,
        errors=np.repeat(errors[:, None], races, axis=1),
        compared=np.repeat(errors[:, None], len(evidence.compared), axis=1),
        limited=np.repeat(errors[:, None], len(evidence.limited), axis=1),
        arms=np.repeat(arms[:, None], races, axis=1),
    )


def _bytes(part: Any) -> int:
    """Count the bytes of every array in there."""
    if isinstance(part, np.ndarray):
        return part.nbytes
    if isinstance(part, Evidence) or not is_dataclass(part):
        return 0
    return sum(_bytes(getattr(part, field.name)) for field in fields(part))

"""Bad answers that come together: events with a mark that says where routing sends them. Used by `streams`.

A cluster is one caller's: its mark in [0, 1) falls below the candidate's share or not, and into one placebo arm or
another, and stays there. What only the candidate gets wrong has marks over all traffic too, and is bad only where the
candidate answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arena.chance import Bools, Floats, Ints, generator
from bench.arena.shapes import Cluster

RETRIES_S = np.array((0.0, 1.0, 3.0, 7.0, 15.0, 31.0))
PARETO, LARGEST = 1.5, 5000
LOG_NORMAL = (1.0, 1.0)
MEAN = {
    Cluster.NONE: 1.0,
    Cluster.GEOMETRIC_3: 3.0,
    Cluster.GEOMETRIC_10: 10.0,
    Cluster.PARETO: float(np.sum(np.arange(1, LARGEST + 1) ** -PARETO)),
    Cluster.LOG_NORMAL: 4.9816,
    Cluster.RETRY: float(len(RETRIES_S)),
    Cluster.SPREAD: 10.0,
}
"""Bad answers in a cluster, on average; of the rounded log-normal: measured, 1e7 draws."""
LASTS_S = {Cluster.LOG_NORMAL: 5.0, Cluster.SPREAD: 30.0}
_BOTH, _OURS = 20, 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Bad answers of some ticks, in the order of the ticks. first: of their clusters. both: bad on stable as well."""

    tick: Ints
    release: NDArray[np.int32]
    mark: Floats
    first: Bools
    both: Bools

    def of(self, tick: int) -> Events:
        """Those of one tick."""
        at = slice(*np.searchsorted(self.tick, (tick, tick + 1)))
        return Events(
            tick=self.tick[at],
            release=self.release[at],
            mark=self.mark[at],
            first=self.first[at],
            both=self.both[at],
        )


def begun(kind: Cluster, seed: int, first: int, means: Floats, *, only_candidate: bool) -> Events:
    """Clusters that begin in the seconds from `first` on, whole; means [seconds, R]: bad answers of all clusters."""
    rng = generator(seed, _OURS if only_candidate else _BOTH, first)
    counts = rng.poisson(means / MEAN[kind])
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    marks = rng.random(cell.size)
    sizes = _sizes(kind, rng, cell.size)
    cluster = np.repeat(np.arange(cell.size), sizes)
    number = np.arange(cluster.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    after_s = _after(kind, rng, number)
    began_s = rng.random(cell.size)
    size = means.shape[1]
    tick = first + cell[cluster] // size + np.floor(began_s[cluster] + after_s).astype(np.int64)
    return Events(
        tick=tick,
        release=(cell[cluster] % size).astype(np.int32),
        mark=marks[cluster],
        first=number == 0,
        both=np.full(cluster.size, not only_candidate),
    )


def in_order(parts: list[Events], before: int) -> tuple[Events, Events]:
    """Put events together, by tick: those before a tick, and the rest."""
    tick = np.concatenate([one.tick for one in parts])
    order = np.argsort(tick, kind="stable")
    cut = int(np.searchsorted(tick[order], before))

    def take(at: NDArray[np.int64]) -> Events:
        return Events(
            tick=tick[at],
            release=np.concatenate([one.release for one in parts])[at],
            mark=np.concatenate([one.mark for one in parts])[at],
            first=np.concatenate([one.first for one in parts])[at],
            both=np.concatenate([one.both for one in parts])[at],
        )

    return take(order[:cut]), take(order[cut:])


def _sizes(kind: Cluster, rng: np.random.Generator, count: int) -> Ints:
    match kind:
        case Cluster.GEOMETRIC_3 | Cluster.GEOMETRIC_10 | Cluster.SPREAD:
            return rng.geometric(1.0 / MEAN[kind], count)
        case Cluster.PARETO:
            return np.minimum(np.floor((1.0 - rng.random(count)) ** (-1.0 / PARETO)), LARGEST).astype(np.int64)
        case Cluster.LOG_NORMAL:
            return np.ceil(rng.lognormal(*LOG_NORMAL, count)).astype(np.int64)
        case Cluster.RETRY:
            return np.full(count, len(RETRIES_S), dtype=np.int64)
        case _:
            return np.ones(count, dtype=np.int64)


def _after(kind: Cluster, rng: np.random.Generator, number: Ints) -> Floats:
    """When an answer comes, in seconds after its cluster's first."""
    if kind is Cluster.RETRY:
        return RETRIES_S[number]
    if kind in LASTS_S:
        return np.where(number == 0, 0.0, rng.random(number.size) * LASTS_S[kind])
    return np.zeros(number.size)

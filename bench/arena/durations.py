"""How long answers take, as counts above edges. Used by `streams`; the edges are known to the rules.

Durations are log-logistic, P(longer than x) = 1 / (1 + (x / 60 ms)^2.9): p50 60 ms, p90 128 ms, p99 293 ms, and 0.2 %
above 500 ms. An edge stands at each of these, at 1.05 and 1.1 times each, and between them, so that a histogram of the
answers has a mean and a p99.
"""

from __future__ import annotations

import numpy as np

from bench.arena.chance import Floats, generator
from bench.arena.rates import OURS, THEIRS, drift
from bench.arena.shapes import Shape, Slow, Spells

MEDIAN_MS, STEEP = 60.0, 2.9
QUANTILES = (0.5, 0.9, 0.99)
MARGINS = (1.0, 1.05, 1.1)


def quantile_ms(share: float) -> float:
    """Stable's quantile."""
    return MEDIAN_MS * (share / (1.0 - share)) ** (1.0 / STEEP)


EDGES_MS = np.array(
    sorted(
        {quantile_ms(share) * margin for share in QUANTILES for margin in MARGINS}
        | {20.0, 40.0, 80.0, 100.0, 175.0, 230.0, 400.0, 500.0, 700.0, 1000.0, 1500.0, 2500.0, 4000.0}
    )
)
MIDDLES_MS = np.concatenate(([EDGES_MS[0] / 2.0], np.sqrt(EDGES_MS[:-1] * EDGES_MS[1:]), [EDGES_MS[-1] * 1.25]))
"""What stands for the durations between two edges."""
TAIL_SHARE, TAIL_MS = 0.01, 2000.0
PAUSES = {Spells.PAUSE_1: (1, 60.0, 600.0), Spells.PAUSE_10: (10, 600.0, 5000.0)}
"""How long in seconds, how often (once in so many seconds), and how long answers take then."""
DRIFT_SD, DRIFT_S, STANDING_SD = 0.1, 10.0, 0.03
_DRIFT, _PAUSED, _STANDING = range(40, 43)


def above(ms: float) -> int:
    """Return the edge at this duration."""
    return int(np.argmin(np.abs(EDGES_MS - ms)))


class Durations:
    """Chances of a duration between two edges, second by second."""

    def __init__(self, shape: Shape, seed: int, size: int, horizon_s: float) -> None:
        seconds = int(np.ceil(horizon_s)) + 1
        self._shape = shape
        self._speed = np.ones((2, seconds, size))
        self._paused = np.zeros((2, seconds, size))
        for version, replicas in enumerate((OURS, THEIRS)):
            if shape.spells is Spells.DRIFT:
                rng = generator(seed, _DRIFT, version)
                moves = drift(rng, seconds, size, sd=DRIFT_SD / replicas**0.5, tau_s=DRIFT_S)
                stands = generator(seed, _STANDING, version).standard_normal(size) * STANDING_SD / replicas**0.5
                self._speed[version] = np.exp(moves + stands)
            elif shape.spells in PAUSES:
                lasts, every_s, _ = PAUSES[shape.spells]
                begins = generator(seed, _PAUSED, version).binomial(replicas, 1.0 / every_s, (seconds, size))
                summed = np.cumsum(begins, axis=0)
                summed[lasts:] -= summed[:-lasts].copy()
                self._paused[version] = np.minimum(summed / replicas, 1.0)

    def chances(self, version: int, second: int) -> Floats:
        """[R, between edges] of the candidate (0) or of stable (1)."""
        speed = self._speed[version, second][:, None]
        longer = _slowed(self._shape.slow, speed) if version == 0 else _longer(EDGES_MS / speed)
        if self._shape.spells in PAUSES:
            paused = self._paused[version, second][:, None]
            longer = (1.0 - paused) * longer + paused * (PAUSES[self._shape.spells][2] > EDGES_MS)
        size = longer.shape[0]
        return -np.diff(np.concatenate((np.ones((size, 1)), longer, np.zeros((size, 1))), axis=1), axis=1)


def _longer(ms: Floats) -> Floats:
    return 1.0 / (1.0 + (ms / MEDIAN_MS) ** STEEP)


def _slowed(slow: Slow, speed: Floats) -> Floats:
    edges = EDGES_MS / speed
    match slow:
        case Slow.BODY:
            return _longer(edges / 1.1)
        case Slow.HALF_AGAIN:
            return _longer(edges / 1.5)
        case Slow.P99:  # the slowest two percent take twice as long
            begins = quantile_ms(0.98)
            return np.where(edges < begins, _longer(edges), np.minimum(_longer(edges / 2.0), 0.02))
        case Slow.TAIL:
            return (1.0 - TAIL_SHARE) * _longer(edges) + TAIL_SHARE * (edges < TAIL_MS)
        case _:
            return _longer(edges)

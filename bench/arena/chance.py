"""Chance that belongs to a release, a tick and a purpose: whatever else is asked, the answer is the same. Used by `streams`.

Counts come by inversion from numbers that are drawn for every release at every tick, so that a count depends on its
own mean alone, and not on what other releases, or other rules, do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

INVERTED_BELOW = 12.0
"""Below this mean a Poisson count is inverted exactly; above it, by the expansion of Cornish and Fisher (off by < 0.1)."""


def generator(seed: int, purpose: int, tick: int = 0) -> np.random.Generator:
    """Give the generator of a purpose at a tick: counter-based, so that it costs nothing to have many."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, (purpose << 32) + tick], dtype=np.uint64)))


class Drawn:
    """Numbers for counts of one shape [...]: two for each, one for small means and one for large."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._uniform = rng.random(shape)
        self._normal = rng.standard_normal(shape)

    def poisson(self, means: Any) -> Ints:
        """Counts with these means (broadcast to the shape)."""
        means = np.broadcast_to(means, self._uniform.shape)
        z = self._normal
        counts = np.maximum(np.floor(means + z * np.sqrt(means) + (z * z - 1.0) / 6.0 + 0.5), 0.0).astype(np.int64)
        small = means < INVERTED_BELOW
        if small.any():
            counts[small] = _inverted(self._uniform[small], means[small])
        return counts


def _inverted(uniform: Floats, means: Floats) -> Ints:
    counts = np.zeros(means.shape, dtype=np.int64)
    chance = np.exp(-means)
    left = np.nonzero(uniform > chance)[0]
    below, chance, means, uniform = chance[left], chance[left], means[left], uniform[left]
    number = 0
    while left.size:
        number += 1
        counts[left] += 1
        chance = chance * means / number
        below = below + chance
        on = (uniform > below) & (number < 10_000)
        left, below, chance, means, uniform = left[on], below[on], chance[on], means[on], uniform[on]
    return counts

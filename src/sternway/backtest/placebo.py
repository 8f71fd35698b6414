"""Placebo arms for tallies: a tally does not tell which requests its errors were. Used by `release`.

Outcomes fall into arms by the hash of their key or number. For tallies, stable's errors are dealt to the arms in runs
as long as they cluster: the index of dispersion (variance to mean) of stable's own errors, over one second and over
ten, is the run's length, and a run of errors that follow each other goes to one arm. Independent errors have an index
of 1 and are dealt one by one; a retry storm stays together, as it would on the candidate.
"""

from __future__ import annotations

from random import Random

LONG = 10
"""Ticks over which errors that belong together are looked for, beside the single tick."""


class _Dispersion:
    """The index of dispersion of counts with known totals, from running sums."""

    __slots__ = ("_bad", "_bad2", "_bad_total", "_total", "_total2")

    def __init__(self) -> None:
        self._total = self._bad = self._bad2 = self._bad_total = self._total2 = 0

    def add(self, total: int, bad: int) -> None:
        self._total += total
        self._bad += bad
        self._bad2 += bad * bad
        self._bad_total += bad * total
        self._total2 += total * total

    @property
    def index(self) -> float:
        """Variance of the errors of an interval, divided by what independent errors would have."""
        if not 0 < self._bad < self._total:
            return 1.0
        rate = self._bad / self._total
        squares = self._bad2 - 2.0 * rate * self._bad_total + rate * rate * self._total2
        return max(1.0, squares / (self._bad * (1.0 - rate)))


class PlaceboDealer:
    """Deals one release's stable errors to placebo arms, the same way on every machine."""

    def __init__(self, release: str) -> None:
        self._random = Random(release)  # noqa: S311  not for secrets: the same deal again on every machine is the point
        self._short = _Dispersion()
        self._long = _Dispersion()
        self._open = (0, 0)
        self._ticks = 0
        self._left = 0
        self._at = 0.0

    def look(self, total: int, bad: int) -> None:
        """Learn how stable's errors cluster, from one tick."""
        self._short.add(total, bad)
        self._open = (self._open[0] + total, self._open[1] + bad)
        self._ticks += 1
        if self._ticks % LONG == 0:
            self._long.add(*self._open)
            self._open = (0, 0)

    def deal(self, total: int, bad: int, *, arms: int, share: float) -> list[tuple[int, int]]:
        """Give each arm its requests and errors: (total, bad) of one tick of stable's."""
        if not arms or not total:
            return []
        run = max(1, round(max(self._short.index, self._long.index)))
        bads = [0] * arms
        for _ in range(bad):
            if not self._left:
                self._left, self._at = run, self._random.random()
            self._left -= 1
            arm = int(self._at / share)
            if arm < arms:
                bads[arm] += 1
        whole, part = divmod(total * share, 1.0)
        return [(max(int(whole) + (self._random.random() < part), ours), ours) for ours in bads]

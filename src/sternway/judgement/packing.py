"""Values of the evidence <-> columns: counts as rows of four, unknown times as NaN. Used by every part of `columns`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sternway.domain.evidence import Counts
from sternway.stats.exact import Floats, Ints

COUNT = np.int32
"""Of an open block; thousands of releases lie in memory side by side."""


def as_row(counts: Counts) -> tuple[int, int, int, int]:
    """Counts in the order of the columns (see `blocks`)."""
    return (counts.candidate_total, counts.candidate_bad, counts.stable_total, counts.stable_bad)


def as_counts(row: Sequence[int]) -> Counts:
    """The way back."""
    return Counts(candidate_total=row[0], candidate_bad=row[1], stable_total=row[2], stable_bad=row[3])


def as_time(seconds: float) -> float | None:
    """NaN is a time that is not known."""
    return None if seconds != seconds else seconds  # noqa: PLR0124 - NaN alone differs from itself


def pack_times(times: Iterable[float | None]) -> Floats:
    """Lay times side by side: [n]."""
    return np.array([np.nan if seconds is None else seconds for seconds in times], dtype=np.float64)


def pack_counts(counts: Iterable[Counts]) -> Ints:
    """Lay counts side by side: [n, 4]."""
    return np.array([as_row(one) for one in counts], dtype=np.int64).reshape(-1, 4)

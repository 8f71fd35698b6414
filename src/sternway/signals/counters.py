"""Counters to counts: how much series have grown, from the samples as they were scraped. Pure; used by `prometheus`.

- A counter that falls was reset: what it shows then is what has come since.
- A missing scrape costs nothing: the next one shows the sum. A sample that comes late counts when it comes.
- A series that appears at a target after its first scrape was born at 0, so its first value counts (the first error of a version,
  which increase() would not see). In a target's first scrape it counts from its first value on: nobody knows how old it is.
- What was scraped before anybody asked is not counted. A step that began before and ended after is counted whole, but not where
  the series must be `fresh` and was still growing then: this growth may be the version's that ran under the same name before.
- The same series from two Prometheus servers is one series: labels that tell only the servers apart are left out, and only one
  of the two is followed at a time; what it told until it went is not counted again from the other. Likewise the role that the
  local platform gives a version, which changes while it runs: a promoted version's counters go on, they are not born.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SERVER_LABELS = frozenset({"prometheus", "prometheus_replica", "thanos_replica", "receive_replica", "__replica__"})
ROLES = frozenset({("role", "stable"), ("role", "candidate"), ("role", "leaving")})
_TARGET = ("job", "instance", "pod", "namespace", "cluster")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one series: (seconds by Prometheus's clock, value), oldest first."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]


@dataclass(slots=True)
class _Known:
    """Where a series stands. source: the server that it is read from."""

    at_s: float
    value: float
    source: Labels
    grew: bool = False
    """In its last step."""


@dataclass(slots=True)
class Growth:
    """Follows every series of one selector. targets: those known to it and to whom it shares them with, by their first scrape.

    since_s: by Prometheus's clock, what was scraped until then is not counted. fresh: nor is the rest of what grew then.
    """

    targets: dict[Labels, float] = field(default_factory=dict)
    since_s: float = 0.0
    fresh: bool = False
    newest_s: float | None = None
    spacing_s: float | None = None
    _series: dict[Labels, _Known] = field(default_factory=dict)

    def take(self, found: Iterable[Series]) -> dict[Labels, float]:
        """How much each series has grown since it was last taken; by its labels without the server's."""
        followed = {labels: one.source for labels, one in self._series.items()}
        chosen = list(_one_source_each(found, followed))
        for _, _, series in chosen:
            target, first_s = _target(series.labels), series.samples[0][0]
            self.targets[target] = min(first_s, self.targets.get(target, first_s))
            self._look(series)
        return {labels: self._follow(labels, source, series) for labels, source, series in chosen}

    def values(self) -> dict[Labels, float]:
        """The last value of each series."""
        return {labels: one.value for labels, one in self._series.items()}

    def _follow(self, labels: Labels, source: Labels, series: Series) -> float:
        known = self._series.get(labels)
        samples = list(series.samples)
        delta = 0.0
        since_s = max(self.since_s, known.at_s) if known is not None else self.since_s
        if known is None or known.source != source:
            first_s, first = samples.pop(0)
            born = known is None and first_s > max(self.since_s, self.targets[_target(series.labels)])
            known = self._series[labels] = _Known(at_s=first_s, value=first, source=source)
            delta = first if born else 0.0
        for at_s, value in samples:
            if at_s <= known.at_s:
                continue
            more = value - known.value if value >= known.value else value
            others = self.fresh and known.grew and known.at_s <= self.since_s
            if at_s > since_s and not others:
                delta += more
            known.at_s, known.value, known.grew = at_s, value, more > 0
        return delta

    def _look(self, series: Series) -> None:
        times = [at_s for at_s, _ in series.samples]
        self.newest_s = max(self.newest_s or 0.0, times[-1])
        for before, after in pairwise(times):
            if after > before:
                self.spacing_s = min(self.spacing_s or after - before, after - before)


def _one_source_each(
    found: Iterable[Series], followed: Mapping[Labels, Labels]
) -> Iterable[tuple[Labels, Labels, Series]]:
    """Each series once: from the server that was followed before, as long as it has it."""
    chosen: dict[Labels, tuple[Labels, Series]] = {}
    for series in found:
        if not series.samples:
            continue
        every = sorted(series.labels.items())
        source = tuple(item for item in every if item[0] in SERVER_LABELS or item in ROLES)
        labels = tuple(item for item in every if item not in source)
        before = chosen.get(labels)
        if (
            before is None
            or source == followed.get(labels)
            or (before[0] != followed.get(labels) and source < before[0])
        ):
            chosen[labels] = (source, series)
    return ((labels, source, series) for labels, (source, series) in sorted(chosen.items(), key=lambda item: item[0]))


def _target(labels: Mapping[str, str]) -> Labels:
    return tuple((name, labels[name]) for name in _TARGET if name in labels)

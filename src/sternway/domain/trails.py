"""Evidence over time: what each criterion amounted to at each look, and what was done. For people and their plots.

Made by `sternway.control.trail` from the journal and by `sternway.backtest`, drawn by `sternway.drawing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sternway.domain.judgements import Judgement

LOOKS_AT_MOST = 400
STRETCHES_AT_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One criterion; each list has an item for each of the trail's times. See Criterion for what the numbers mean."""

    name: str
    unit: str
    needed: float
    e_values: tuple[float, ...]
    suspects_at: tuple[float, ...]
    exposure_e_values: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The most evidence that there ever was."""
        return max((*self.e_values, *self.exposure_e_values), default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in one phase. end_s None: it still lasts."""

    phase: str
    start_s: float
    end_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """A release's evidence over time. percents: the candidate's share at each time.

    whole: every look is on record; False: only those at which something changed.
    """

    release: str
    times_s: tuple[float, ...] = ()
    percents: tuple[float, ...] = ()
    tracks: tuple[Track, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """rows: needed, e-value, suspects at and exposure's e-value of each criterion. marks: a phase begins or ends here."""

    at_s: float
    percent: float
    rows: dict[tuple[str, str], tuple[float, float, float, float]]
    marks: bool


class TrailMaker:
    """Gathers looks in the order of time, within bounds: when there are many, every second one goes."""

    def __init__(self, release: str, *, at_most: int = LOOKS_AT_MOST) -> None:
        self._release = release
        self._at_most = at_most
        self._looks: list[_Look] = []
        self._stretches: list[Stretch] = []
        self._names: dict[tuple[str, str], None] = {}
        self.whole = True

    def look(self, at_s: float, phase: str, percent: float, judged: Judgement | None) -> None:
        """Take a look in. The last of a phase and the first of the next one stay, however many there are."""
        begins = not self._stretches or self._stretches[-1].phase != phase
        if begins:
            self.over(at_s)
            self._stretches.append(Stretch(phase=phase, start_s=at_s, end_s=None))
            if self._looks:
                self._looks[-1] = replace(self._looks[-1], marks=True)
        rows = {}
        for one in judged.criteria if judged is not None else ():
            key = (one.name, one.unit)
            self._names.setdefault(key)
            rows[key] = (one.needed, one.e_value, one.suspects_at, one.exposure_e_value)
        self._looks.append(_Look(at_s=at_s, percent=percent, rows=rows, marks=begins))
        if len(self._looks) > 2 * self._at_most:
            self._thin()

    def over(self, at_s: float) -> None:
        """End the phase that lasts."""
        if self._stretches and self._stretches[-1].end_s is None:
            self._stretches[-1] = replace(self._stretches[-1], end_s=at_s)

    def trail(self) -> Trail:
        """Everything so far."""
        while len(self._looks) > self._at_most:
            self._thin()
        looks = self._looks
        return Trail(
            release=self._release,
            times_s=tuple(look.at_s for look in looks),
            percents=tuple(look.percent for look in looks),
            tracks=tuple(self._track(key) for key in self._names if any(key in look.rows for look in looks)),
            stretches=tuple(self._stretches[-STRETCHES_AT_MOST:]),
            whole=self.whole,
        )

    def _track(self, key: tuple[str, str]) -> Track:
        known = [look.rows[key] for look in self._looks if key in look.rows]
        rows, last = [], (known[0][0], 1.0, known[0][2], 1.0)  # before it was judged: nothing seen
        for look in self._looks:
            last = look.rows.get(key, last)
            rows.append(last)
        return Track(
            name=key[0],
            unit=key[1],
            needed=max(row[0] for row in rows),
            e_values=tuple(row[1] for row in rows),
            suspects_at=tuple(row[2] for row in rows),
            exposure_e_values=tuple(row[3] for row in rows),
        )

    def _thin(self) -> None:
        kept = [look for at, look in enumerate(self._looks) if look.marks or at % 2 == 0]
        few = len(kept) <= self._at_most or len(kept) < 0.75 * len(self._looks)
        self._looks = kept if few else self._looks[::2]

"""The best settings of the peers: a search over a grid, service by service. Used by `fields` and `bench`.

Best is the fewest users hurt in the hour (geometric mean over faults of their median, plus one; what is promoted
unseen costs until the hour is over) among the settings that take back at most 1 % of the healthy releases. A setting is
a first weight, 1 or 10 %, at which Flagger and Argo look for ten minutes, and whatever the rule has; Kayenta looks for
half an hour at 10 %. At one weight, what a rule does changes nothing that it sees before it ends; so all settings are
tried on one recording. Only shapes that may be tuned on are used, on the very service (traffic and error rate) that the
setting is then used for, which is more than a user could do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from bench.arena import ranks
from bench.arena.chance import Bools, Floats, Ints
from bench.arena.shapes import Cluster, Load, Shape
from bench.arena.streams import World
from sternway.backtest.peers.argo import ArgoSettings
from sternway.backtest.peers.flagger import FlaggerSettings
from sternway.backtest.peers.kayenta import KayentaSettings

SMALL, USUAL = 1.0, 10.0
ALLOWED = 0.01
LOOKS_S, LIFETIME_S, HOUR_S = 600.0, 1800.0, 3600.0
SUCCESSES = (80.0, 90.0, 93.0, 95.0, 96.0, 97.0, 98.0, 98.5, 99.0, 99.3, 99.5, 99.7, 99.8, 99.9, 99.95)
Settings = FlaggerSettings | ArgoSettings | KayentaSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Running sums at each second's end, from 0 on: counts [T + 1, R, 4], hurt [T + 1, R].

    after [R]: what all traffic on the candidate costs from then to the end of the hour; shorter [R]: after `LOOKS_S`.
    """

    healthy: bool
    counts: Ints
    hurt: Ints
    after: Floats
    shorter: Floats

    def short(self) -> Recording:
        """Give its first `LOOKS_S` seconds."""
        last = int(LOOKS_S) + 1
        return replace(self, counts=self.counts[:last], hurt=self.hurt[:last], after=self.shorter)


Tried = tuple[Settings, Callable[[Recording], Floats]]
"""A setting, and when it takes each release of a recording back [R]; NaN for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The settings found, and what they did where they were found: false rollbacks (0..1), users hurt.

    percent: the weight at which it looks.
    """

    settings: Settings
    percent: float
    false_rollbacks: float
    hurt: float


def tune(service: Shape, *, seed: int, size: int) -> dict[str, Best]:
    """Find the best setting of each rule for a service, by its healthy shape."""
    tried = list(enumerate(_tried(service)))
    usual = [record(shape, seed=seed + at, size=size, percent=USUAL, looks_s=LIFETIME_S) for at, shape in tried]
    small = [record(shape, seed=seed + at, size=size, percent=SMALL, looks_s=LOOKS_S) for at, shape in tried]
    told = {USUAL: [one.short() for one in usual], SMALL: small}
    return {
        "flagger": _choose(told, ((one, partial(ends_of_flagger, one)) for one in _flagger())),
        "argo": _choose(told, ((one, partial(ends_of_argo, one)) for one in _argo())),
        "kayenta": _choose({USUAL: usual}, _kayenta(usual)),
    }


def record(shape: Shape, *, seed: int, size: int, percent: float, looks_s: float) -> Recording:
    """Let the candidate have this weight for as long as it is looked at."""
    world = World(shape, seed=seed, size=size, horizon_s=HOUR_S)
    share = np.full(size, percent / 100.0)
    seconds = int(looks_s)
    counts = np.zeros((seconds + 1, size, 4), dtype=np.int64)
    hurt = np.zeros((seconds + 1, size), dtype=np.int64)
    for second in range(seconds):
        told = world.answers(second, share)
        counts[second + 1], hurt[second + 1] = told.seen.errors, told.hurt
    return Recording(
        healthy=not shape.harmful,
        counts=counts.cumsum(axis=0),
        hurt=hurt.cumsum(axis=0),
        after=world.hurt_after(seconds),
        shorter=world.hurt_after(int(LOOKS_S)),
    )


def _tried(service: Shape) -> Iterator[Shape]:
    yield service
    yield replace(service, load=Load.MOVING)
    yield replace(service, cluster=Cluster.GEOMETRIC_3)
    for rate in (min(5.0 * service.stable, 1.0), service.stable + 0.05, 1.0):
        yield replace(service, candidate=rate)


def _flagger() -> Iterator[FlaggerSettings]:
    for interval_s, threshold, success in product((10.0, 20.0, 30.0, 60.0), (1, 2, 3, 5, 10), SUCCESSES):
        for window_s in sorted({interval_s, 60.0}):
            yield FlaggerSettings(
                interval_s=interval_s, threshold=threshold, success_percent=success, window_s=window_s
            )


def _argo() -> Iterator[ArgoSettings]:
    for interval_s, limit, success in product((10.0, 20.0, 30.0, 60.0, 300.0), (0, 1, 2, 3, 5), SUCCESSES):
        for window_s in (15.0, 60.0):
            yield ArgoSettings(interval_s=interval_s, failure_limit=limit, success=success / 100.0, window_s=window_s)


def _kayenta(recordings: list[Recording]) -> Iterator[Tried]:
    found = [ends_of_kayenta(one) for one in recordings]
    for group in zip(*found, strict=True):
        ends = {id(told): one for told, (_, one) in zip(recordings, group, strict=True)}
        yield group[0][0], partial(_known, ends)


def _known(ends: Mapping[int, Floats], told: Recording) -> Floats:
    return ends[id(told)]


def _choose(recordings: Mapping[float, list[Recording]], tried: Iterable[Tried]) -> Best:
    """The fewest users hurt among those that are quiet enough; the quietest where none is."""
    best, key = None, (np.inf, np.inf)
    for settings, ends_of in tried:
        for percent, told in recordings.items():
            ends = [ends_of(one) for one in told]
            quiet = [~np.isnan(end) for end, one in zip(ends, told, strict=True) if one.healthy]
            wrong = float(np.mean(np.concatenate(quiet)))
            costs = [np.median(cost_of(end, one)) for end, one in zip(ends, told, strict=True) if not one.healthy]
            hurt = float(np.exp(np.mean(np.log1p(costs))) - 1.0)
            this = (max(wrong, ALLOWED), hurt)
            if this < key:
                best, key = Best(settings=settings, percent=percent, false_rollbacks=wrong, hurt=hurt), this
    assert best is not None
    return best


def cost_of(ends: Floats, told: Recording) -> Floats:
    """[R] Users hurt until then; of those that are promoted unseen, until the hour is over."""
    last = len(told.hurt) - 1
    at = np.where(np.isnan(ends), last, ends).astype(np.int64)
    cost: Floats = told.hurt[at, np.arange(told.hurt.shape[1])] + np.where(np.isnan(ends), told.after, 0.0)
    return cost


def _window(told: Recording, at: Ints, window_s: float) -> tuple[Ints, Ints]:
    """Answers of the candidate, and bad ones, in the windows that end at these seconds: [checks, R] each."""
    sums = told.counts[at] - told.counts[np.maximum(at - int(window_s), 0)]
    return sums[..., 0], sums[..., 1]


def _checks(told: Recording, first_s: float, every_s: float) -> Ints:
    """[checks] When releases are looked at; as if each candidate had answered in the first second."""
    return np.arange(int(first_s), len(told.counts), int(every_s))


def ends_of_flagger(settings: FlaggerSettings, told: Recording) -> Floats:
    """[R] When Flagger's rule takes each release back; NaN for never."""
    at = _checks(told, settings.interval_s, settings.interval_s)
    total, bad = _window(told, at, settings.window_s)
    fails = (total == 0) | (100.0 * (total - bad) / np.maximum(total, 1) < settings.success_percent)
    reached = np.cumsum(fails, axis=0) >= settings.threshold
    return _first(reached, at + settings.interval_s, len(told.counts) - 1)


def ends_of_argo(settings: ArgoSettings, told: Recording) -> Floats:
    """[R] When Argo's rule takes each release back; NaN for never."""
    at = _checks(told, settings.window_s, settings.interval_s)
    total, bad = _window(told, at, settings.window_s)
    fails = (total == 0) | ((total - bad) / np.maximum(total, 1) < settings.success)
    return _first(np.cumsum(fails, axis=0) > settings.failure_limit, at, len(told.counts) - 1)


def ends_of_kayenta(told: Recording) -> list[tuple[KayentaSettings, Floats]]:
    """All settings at once: they share most of the work."""
    minutes = told.counts[::60]
    points = np.diff(minutes, axis=0)
    percent = 100.0 * points[..., 1::2] / np.maximum(points[..., ::2], 1)
    percent = np.where(points[..., ::2] > 0, percent, np.nan)
    found = []
    for interval_s, confidence in product((300.0, 600.0, 900.0), (0.9, 0.95, 0.98)):
        at = np.arange(int(interval_s), int(LIFETIME_S) + 1, int(interval_s))
        looks = [_look(percent[: second // 60], confidence) for second in at]
        for tolerance, increase in product((0.0, 0.25, 0.5), (1.0, 1.5, 2.0)):
            high = np.array(
                [alive & (low > tolerance * np.abs(near)) & (ratio >= increase) for alive, low, near, ratio in looks]
            )
            settings = KayentaSettings(
                interval_s=interval_s,
                lifetime_s=LIFETIME_S,
                confidence=confidence,
                tolerance=tolerance,
                allowed_increase=increase,
            )
            found.append((settings, _first(high, at, int(LIFETIME_S))))
    return found


def _look(percent: Floats, confidence: float) -> tuple[Bools, Floats, Floats, Floats]:
    """[R] Whether there is something to test, the lower limit, the estimate, the ratio of the means."""
    experiment, control = np.ascontiguousarray(percent[..., 0].T), np.ascontiguousarray(percent[..., 1].T)
    empty = np.isnan(experiment).all(axis=1) | np.isnan(control).all(axis=1)
    experiment[empty], control[empty] = 0.0, 0.0
    alive = ~ranks.alike(control, experiment) & ~empty
    low, near, ratio = np.zeros(len(alive)), np.zeros(len(alive)), np.full(len(alive), np.inf)
    if alive.any():
        low[alive], near[alive] = ranks.shift_low(experiment[alive], control[alive], confidence=confidence)
        usual = np.nanmean(control, axis=1)
        some = alive & (usual > 0.0)
        ratio[some] = np.nanmean(experiment[some], axis=1) / usual[some]
    return alive, low, near, ratio


def _first(reached: Bools, at: Any, last: int) -> Floats:
    """[R] The first of these times at which it was reached, if that is not too late."""
    when = np.where(reached.any(axis=0), np.asarray(at, dtype=np.float64)[reached.argmax(axis=0)], np.nan)
    return np.where(when <= last, when, np.nan)

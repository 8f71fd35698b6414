"""A shape becomes what R releases answer, tick by tick. Called by `play`.

The same seed, release, tick and share give the same answers, whichever rule asks and whatever it does elsewhere: a
rule chooses shares, never luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.arena.chance import Drawn, Floats, Ints, generator
from bench.arena.clusters import Events, begun, in_order
from bench.arena.durations import Durations
from bench.arena.rates import rates, warm_up
from bench.arena.rules import PLACEBO_ARMS, Seen
from bench.arena.shapes import Cluster, Shape, Warming

FINE_S = 0.1
MOST_EVENTS, MOST_TICKS = 1e6, 256
OUR_ARM, REST = 0, 1 + PLACEBO_ARMS
_GOOD, _BAD, _EXTRA, _TIMED = range(10, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """seen: what rules are told. hurt [R]: bad answers of the candidate that stable would not have given."""

    seen: Seen
    hurt: Ints


class World:
    """R releases of a shape. The first `fine_s` seconds come in ticks of `FINE_S`, the rest in ticks of a second."""

    def __init__(self, shape: Shape, *, seed: int, size: int, horizon_s: float, fine_s: float = 0.0) -> None:
        self.shape, self.size, self.horizon_s = shape, size, horizon_s
        fine = np.full(round(min(fine_s, horizon_s) / FINE_S), FINE_S)
        self.lasts_s = np.concatenate((fine, np.ones(round(horizon_s - fine.size * FINE_S))))
        self.ends_s = np.round(np.cumsum(self.lasts_s), 6)
        self.begins_s = np.concatenate(([0.0], self.ends_s[:-1]))
        self.ticks = len(self.lasts_s)
        self._seed = seed
        self._rates = rates(shape, seed, size, horizon_s)
        self._worse = bool((self._rates.candidate > self._rates.stable).any()) or shape.warm_up > 1.0
        self._clustered = shape.cluster is not Cluster.NONE
        assert not (self._clustered and fine_s), "clusters come in ticks of a second"
        assert not (self._clustered and shape.warming is Warming.BY_REQUESTS), "clusters are laid out before"
        self._durations = Durations(shape, seed, size, horizon_s) if shape.timed else None
        self._drawn_at = -1
        self._good: Drawn | None = None
        self._bad: Drawn | None = None
        self._extra: Drawn | None = None
        self._timed: Drawn | None = None
        self._known: dict[bytes, Tick] = {}
        self._ready: Events | None = None
        self._late: list[Events] = []
        self._until = 0

    def answers(self, tick: int, share: Floats, before: Ints | None = None) -> Tick:
        """What is answered in a tick when the candidate has this share [R] of the traffic; ticks never go back.

        before [R]: what the candidate has answered; by this it warms, where the shape says so.
        """
        if tick != self._drawn_at:
            self._draw(tick)
        warm = np.ones(self.size)
        if before is not None and self.shape.warming is Warming.BY_REQUESTS:
            warm = warm_up(self.shape, before.astype(np.float64))
        key = share.tobytes() + warm.tobytes()
        if key not in self._known:
            self._known[key] = self._answer(tick, share, warm)
        return self._known[key]

    def hurt_after(self, tick: int) -> Floats:
        """[R] What all traffic on the candidate costs on average from a tick to the end."""
        left = slice(int(self.begins_s[tick]) if tick < self.ticks else int(self.horizon_s), int(self.horizon_s))
        rates_ = self._rates
        result: Floats = (rates_.load * np.maximum(rates_.candidate - rates_.stable, 0.0))[left].sum(axis=0)
        return result

    def _draw(self, tick: int) -> None:
        self._drawn_at, self._known = tick, {}
        shape = (self.size, 2 + PLACEBO_ARMS)

        def drawn(purpose: int, *shape: int) -> Drawn:
            return Drawn(generator(self._seed, purpose, tick), shape)

        self._good = drawn(_GOOD, *shape)
        self._bad = None if self._clustered else drawn(_BAD, *shape)
        self._extra = drawn(_EXTRA, self.size) if self._worse and not self._clustered else None
        if self._durations is not None:
            self._timed = drawn(_TIMED, self.size, 2, self._durations.chances(0, 0).shape[1])
        if self._clustered and tick >= self._until:
            self._cluster(tick)

    def _cluster(self, tick: int) -> None:
        """Lay out the clusters of the next ticks."""
        seconds = self.begins_s[tick : tick + MOST_TICKS].astype(np.int64)
        rates_ = self._rates
        load, stable, candidate = rates_.load[seconds], rates_.stable[seconds], rates_.candidate[seconds]
        most = (load * (stable + candidate)).sum(axis=1).max()
        count = int(np.clip(MOST_EVENTS / max(float(most), 1.0), 1, len(seconds)))
        load, stable, candidate = load[:count], stable[:count], candidate[:count]
        parts = [*self._late]
        for rate, only in ((stable, False), (np.maximum(candidate - stable, 0.0), True)):
            if rate.any():
                parts.append(begun(self.shape.cluster, self._seed, tick, load * rate, only_candidate=only))
        self._until = tick + count
        self._ready, late = in_order(parts, self._until)
        self._late = [late]

    def _answer(self, tick: int, share: Floats, warm: Floats) -> Tick:
        second = int(self.begins_s[tick])
        rates_ = self._rates
        load, stable = rates_.load[second], rates_.stable[second]
        candidate = np.minimum(rates_.candidate[second] * warm, 1.0)
        requests = load * self.lasts_s[tick]
        fit = arms_that_fit(share)
        means = _widths(share, fit) * requests[:, None]
        rate = np.repeat(stable[:, None], means.shape[1], axis=1)
        rate[:, OUR_ARM] = candidate
        assert self._good is not None
        good = self._good.poisson(means * (1.0 - rate))
        rate[:, OUR_ARM] = np.minimum(candidate, stable)
        if self._clustered:
            bad, first, hurt = self._events(tick, share, fit)
        else:
            assert self._bad is not None
            bad = self._bad.poisson(means * rate)
            hurt = np.zeros(self.size, dtype=np.int64)
            if self._extra is not None:
                hurt = self._extra.poisson(requests * share * np.maximum(candidate - stable, 0.0))
                bad[:, OUR_ARM] += hurt
            first = bad
        slower, arms = None, np.stack((good + bad, bad), axis=-1)[:, 1:REST]
        if self._durations is not None:
            (slower, good), arms = self._slower(second, requests, share), np.zeros_like(arms)
        seen = Seen(
            start_s=float(self.begins_s[tick]),
            end_s=float(self.ends_s[tick]),
            share=share,
            errors=_by_version(good, bad),
            keyed=_by_version(good, first),
            arms=arms,
            slower=slower,
        )
        return Tick(seen=seen, hurt=hurt)

    def _events(self, tick: int, share: Floats, fit: Ints) -> tuple[Ints, Ints, Ints]:
        """Bad answers by arm [R, arms], those that are the first of their clusters, and those that hurt [R]."""
        assert self._ready is not None
        events = self._ready.of(tick)
        ours = share[events.release]
        arm = np.where(ours > 0.0, np.floor(events.mark / np.where(ours > 0.0, ours, 1.0)), REST).astype(np.int64)
        arm = np.where(arm > fit[events.release], REST, arm)
        counts = events.both | (arm == OUR_ARM)
        cell = events.release.astype(np.int64) * (REST + 1) + arm
        size = (self.size, REST + 1)

        def count(which: Ints) -> Ints:
            return np.bincount(which, minlength=size[0] * size[1]).reshape(size)

        hurt = count(cell[~events.both & counts])[:, OUR_ARM]
        return count(cell[counts]), count(cell[counts & events.first]), hurt

    def _slower(self, second: int, requests: Floats, share: Floats) -> tuple[Ints, Ints]:
        """Answers above each edge [R, version, edges]; and how many there were, by arm: none is cut for a placebo."""
        assert self._durations is not None
        assert self._timed is not None
        shares = np.stack((share, 1.0 - share), axis=1)[..., None]
        chances = np.stack([self._durations.chances(version, second) for version in (0, 1)], axis=1)
        counts = self._timed.poisson(requests[:, None, None] * shares * chances)
        good = np.zeros((self.size, REST + 1), dtype=np.int64)
        good[:, OUR_ARM], good[:, REST] = counts[:, 0].sum(axis=1), counts[:, 1].sum(axis=1)
        return np.flip(np.cumsum(np.flip(counts, axis=2), axis=2), axis=2)[..., 1:], good


def arms_that_fit(share: Floats) -> Ints:
    """[R] How many placebo arms as large as the candidate stand beside it."""
    some = share > 0.0
    fit = np.floor((1.0 - share) / np.where(some, share, 1.0) + 1e-9).astype(np.int64)
    return np.where(some, np.minimum(fit, PLACEBO_ARMS), 0)


def _widths(share: Floats, fit: Ints) -> Floats:
    """[R, arms] The part of the traffic that each arm has: the candidate, placebo arms, the rest."""
    widths = np.zeros((len(share), REST + 1))
    widths[:, OUR_ARM] = share
    widths[:, 1:REST] = np.where(np.arange(1, REST) <= fit[:, None], share[:, None], 0.0)
    widths[:, REST] = np.maximum(1.0 - share * (1 + fit), 0.0)
    return widths


def _by_version(good: Ints, bad: Ints) -> Ints:
    total = good + bad
    return np.stack((total[:, OUR_ARM], bad[:, OUR_ARM], total[:, 1:].sum(axis=1), bad[:, 1:].sum(axis=1)), axis=1)

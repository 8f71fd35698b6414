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
from bench.arena.rates import rates
from bench.arena.rules import PLACEBO_ARMS, Seen
from bench.arena.shapes import Cluster, Shape

MOST_EVENTS, MOST_TICKS = 1e6, 256
OUR_ARM, REST = 0, 1 + PLACEBO_ARMS
_GOOD, _BAD, _EXTRA, _TIMED = range(10, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """seen: what rules are told. hurt [R]: bad answers of the candidate that stable would not have given."""

    seen: Seen
    hurt: Ints


class World:
    """R releases of a shape."""

    def __init__(self, shape: Shape, *, seed: int, size: int, horizon_s: float, tick_s: float = 1.0) -> None:
        self.shape, self.size, self.tick_s = shape, size, tick_s
        self.ticks = round(horizon_s / tick_s)
        self._seed = seed
        self._rates = rates(shape, seed, size, horizon_s)
        self._clustered = shape.cluster is not Cluster.NONE
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

    def answers(self, tick: int, share: Floats) -> Tick:
        """What is answered in a tick when the candidate has this share [R] of the traffic; ticks never go back."""
        if tick != self._drawn_at:
            self._draw(tick)
        key = share.tobytes()
        if key not in self._known:
            self._known[key] = self._answer(tick, share)
        return self._known[key]

    def hurt_after(self, tick: int) -> Floats:
        """[R] What all traffic on the candidate costs on average from a tick to the end."""
        began = int(tick * self.tick_s)
        rates_, last = self._rates, int(self.ticks * self.tick_s)
        more = np.maximum(rates_.candidate - rates_.stable, 0.0)[began:last]
        result: Floats = (rates_.load[began:last] * more).sum(axis=0)
        return result

    def _draw(self, tick: int) -> None:
        self._drawn_at, self._known = tick, {}
        shape = (self.size, 2 + PLACEBO_ARMS)

        def drawn(purpose: int, *shape: int) -> Drawn:
            return Drawn(generator(self._seed, purpose, tick), shape)

        self._good = drawn(_GOOD, *shape)
        self._bad = None if self._clustered else drawn(_BAD, *shape)
        self._extra = drawn(_EXTRA, self.size) if self.shape.harmful or self.shape.warm_up != 1.0 else None
        if self._durations is not None:
            self._timed = drawn(_TIMED, self.size, 2, self._durations.chances(0, 0).shape[1])
        if self._clustered and tick >= self._until:
            self._cluster(tick)

    def _cluster(self, tick: int) -> None:
        """Lay out the clusters of the next ticks."""
        at = slice(int(tick * self.tick_s), int((tick + MOST_TICKS) * self.tick_s) + 1)
        rates_ = self._rates
        most = float((rates_.load[at] * (rates_.stable + rates_.candidate)[at]).sum(axis=1).max()) * self.tick_s
        count = int(np.clip(MOST_EVENTS / max(most, 1.0), 1, MOST_TICKS))
        second = np.minimum((np.arange(tick, tick + count) * self.tick_s).astype(np.int64), len(rates_.load) - 1)
        load, stable, candidate = rates_.load[second], rates_.stable[second], rates_.candidate[second]
        parts = [*self._late]
        for rate, only in ((stable, False), (np.maximum(candidate - stable, 0.0), True)):
            if rate.any():
                means = load * rate * self.tick_s
                kind = self.shape.cluster
                parts.append(begun(kind, self._seed, tick, means, only_candidate=only, tick_s=self.tick_s))
        self._until = tick + count
        self._ready, late = in_order(parts, self._until)
        self._late = [late]

    def _answer(self, tick: int, share: Floats) -> Tick:
        second = int(tick * self.tick_s)
        rates_ = self._rates
        load, stable, candidate = rates_.load[second], rates_.stable[second], rates_.candidate[second]
        requests = load * self.tick_s
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
            start_s=tick * self.tick_s,
            end_s=(tick + 1) * self.tick_s,
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

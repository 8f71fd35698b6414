"""The peers' rules over many releases at once do what the scalar rules of the backtest do, release by release."""

from functools import cache

import numpy as np
import pytest
from bench.arena.durations import MIDDLES_MS
from bench.arena.peers import ARGO_PATH, FLAGGER_PATH, Argo, Flagger, Kayenta, steady
from bench.arena.play import play
from bench.arena.ranks import shift_low
from bench.arena.rules import Seen, Setup
from bench.arena.shapes import Shape, Slow, Spells
from bench.arena.streams import World

from sternway.backtest.peers import argo, flagger, kayenta
from sternway.backtest.peers.rank_test import shift_interval
from sternway.backtest.peers.rule import Watched
from sternway.backtest.seconds import Second

WORSE = Shape(rate_per_s=20.0, stable=0.01, candidate=0.02)
"""Little traffic near a threshold: windows with no answer, with one bad answer, just below and just above."""
SHAPES = {
    "errors": WORSE,
    "hardly any traffic": Shape(rate_per_s=0.6, stable=0.01, candidate=0.2),
    "slow": Shape(rate_per_s=12.0, stable=0.001, candidate=0.001, timed=True, slow=Slow.P99, spells=Spells.PAUSE_1),
}
RULES = {
    "flagger": (
        lambda: flagger.Flagger(flagger.FlaggerSettings(interval_s=20.0, threshold=2, success_percent=97.0)),
        lambda path: Flagger(flagger.FlaggerSettings(interval_s=20.0, threshold=2, success_percent=97.0), path),
    ),
    "flagger, a short window": (
        lambda: flagger.Flagger(flagger.FlaggerSettings(interval_s=30.0, threshold=3, window_s=10.0)),
        lambda path: Flagger(flagger.FlaggerSettings(interval_s=30.0, threshold=3, window_s=10.0), path),
    ),
    "argo": (
        lambda: argo.Argo(argo.ArgoSettings(interval_s=40.0, failure_limit=2, success=0.96)),
        lambda path: Argo(argo.ArgoSettings(interval_s=40.0, failure_limit=2, success=0.96), path),
    ),
    "kayenta": (
        lambda: kayenta.Kayenta(kayenta.KayentaSettings(interval_s=300.0, lifetime_s=900.0)),
        lambda path: Kayenta(kayenta.KayentaSettings(interval_s=300.0, lifetime_s=900.0), path),
    ),
    "kayenta, a large effect": (
        lambda: kayenta.Kayenta(
            kayenta.KayentaSettings(interval_s=240.0, lifetime_s=900.0, allowed_increase=3.0, confidence=0.9)
        ),
        lambda path: Kayenta(
            kayenta.KayentaSettings(interval_s=240.0, lifetime_s=900.0, allowed_increase=3.0, confidence=0.9), path
        ),
    ),
}
SIZE, HORIZON_S = 10, 900.0


@cache
def recorded(name: str) -> tuple[list[Seen], tuple[tuple[Second, ...], ...]]:
    """What the releases of a shape answer at 10 %: as the arena has it, and by release as the scalar rules want it."""
    world = World(SHAPES[name], seed=3, size=SIZE, horizon_s=HORIZON_S)
    told = [world.answers(tick, np.full(SIZE, 0.1)).seen for tick in range(world.ticks)]
    return told, tuple(tuple(second(seen, release) for seen in told) for release in range(SIZE))


def second(seen: Seen, release: int) -> Second:
    """Lay a release's second down as the scalar rules want it."""
    found = Second(start_s=seen.start_s, timed=seen.slower is not None)
    for version, side in ((0, found.candidate), (1, found.stable)):
        side.total, side.bad = seen.errors[release, 2 * version : 2 * version + 2].tolist()
        if seen.slower is not None:
            above = np.concatenate(([side.total], seen.slower[release, version], [0]))
            for count, ms in zip((-np.diff(above)).tolist(), MIDDLES_MS.tolist(), strict=True):
                side.durations_ms.extend([ms] * count)
    return found


def scalar(make, seconds: tuple[Second, ...]) -> float | None:
    """Run the scalar rule over one release: when it took it back."""
    watched = Watched(make())
    for one in seconds:
        watched.fold(one)
    return watched.said().decided_s


def arrays(make, seen: list[Seen]) -> list[float | None]:
    """Run the rule over all releases at once: when it took each back."""
    rule = make(steady(10.0))
    rule.start(Setup(size=SIZE, rate_per_s=1.0))
    decided: list[float | None] = [None] * SIZE
    for tick in seen:
        for release in np.nonzero(rule.step(tick).condemned)[0].tolist():
            decided[release] = decided[release] or tick.end_s
    return decided


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_over_many_releases_decides_as_the_scalar_rule_does(rule: str, shape: str):
    """Same answers: the same releases are taken back, at the same second."""
    make_scalar, make_arrays = RULES[rule]
    seen, releases = recorded(shape)
    assert arrays(make_arrays, seen) == [scalar(make_scalar, one) for one in releases]


@pytest.mark.parametrize("rule", RULES)
def test_these_releases_tell_rules_apart(rule: str):
    """The comparison above can fail: each rule takes these releases back at different times, or not at all."""
    decided = [at_s for shape in SHAPES for at_s in arrays(RULES[rule][1], recorded(shape)[0])]
    assert len(set(decided)) > 2


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.98])
def test_the_rank_test_is_the_scalar_one(confidence: float):
    """Random samples with ties, of several lengths: the lower limit and the estimate are equal."""
    rng = np.random.default_rng(11)
    first, second = np.round(rng.normal(1.0, 1.0, (60, 8)), 1), np.round(rng.normal(0.5, 1.0, (60, 9)), 1)
    for row in range(60):
        first[row, 8 - row % 4 :], second[row, 9 - row % 5 :] = np.nan, np.nan
    low, estimate = shift_low(first, second, confidence=confidence)
    for row in range(60):
        a, b = (sample[row][~np.isnan(sample[row])].tolist() for sample in (first, second))
        expected = shift_interval(a, b, confidence=confidence)
        assert low[row] == expected.low
        assert estimate[row] == pytest.approx(expected.estimate, rel=1e-9)


def test_flagger_raises_the_weight_by_what_it_passes_and_promotes():
    """A silent candidate: 10 % for the first minute, 10 % more after each, all of it after the fifth check."""
    shape = Shape(rate_per_s=50.0, stable=0.0001, candidate=0.0001)
    rule = Flagger(flagger.FlaggerSettings(), FLAGGER_PATH)
    found = play(World(shape, seed=1, size=4, horizon_s=600.0), {"flagger": rule})["flagger"]
    assert found.shipped_s.tolist() == [300.0] * 4
    requests = 50.0 * 60.0 * (0.1 + 0.2 + 0.3 + 0.4 + 0.5)
    assert found.requests.mean() == pytest.approx(requests, rel=0.05)


def test_argo_looks_only_from_the_second_weight_on():
    """Everything fails: nothing is measured at 20 %; from 600 s on four failures at five minutes, so 1515 s."""
    shape = Shape(rate_per_s=5.0, candidate=1.0)
    rule = Argo(argo.ArgoSettings(), ARGO_PATH)
    found = play(World(shape, seed=1, size=4, horizon_s=1800.0), {"argo": rule})["argo"]
    assert found.condemned_s == pytest.approx([1515.0] * 4, abs=5.0)

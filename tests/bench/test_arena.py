"""The arena itself: a small part of it, played with seeds; the search for settings; the tables."""

from dataclasses import replace

import numpy as np
import pytest
from bench.arena import shapes
from bench.arena.fields import ARGO, FLAGGER, KAYENTA, KEY, NO_KEY, WITH_KEY, at_weight, on_own_paths
from bench.arena.ours import Sternway
from bench.arena.page import PAGE, render, tables
from bench.arena.peers import Argo, Flagger, Kayenta, steady
from bench.arena.play import Outcome, play
from bench.arena.shapes import Shape, healthy
from bench.arena.streams import World
from bench.arena.tuning import (
    ends_of_argo,
    ends_of_flagger,
    ends_of_kayenta,
    record,
)
from bench.page import BEGIN, END
from bench.results import Result

from sternway.backtest.peers.argo import ArgoSettings
from sternway.backtest.peers.flagger import FlaggerSettings
from sternway.domain.guards import Guard

OURS = (KEY, NO_KEY)


def played(shape: Shape, rules: dict, *names: str, horizon_s: float, size: int = 10, fine_s: float = 0.0):
    """Play some of the rules on releases of a shape."""
    world = World(shape, seed=1, size=size, horizon_s=horizon_s, fine_s=fine_s)
    return play(world, {name: rules[name]() for name in names})


def cost(outcome: Outcome) -> float:
    """The median of users hurt."""
    return float(np.median(outcome.hurt))


def test_common_trouble_rolls_nothing_back_that_compares():
    """Both versions at 3 % for seven minutes: Flagger takes every release back, Sternway none."""
    found = played(shapes.COMMON["both at 3 %"], at_weight(10.0), *OURS, FLAGGER, horizon_s=420.0, size=5)
    assert {name: int(one.condemned.sum()) for name, one in found.items()} == {KEY: 0, NO_KEY: 0, FLAGGER: 5}


@pytest.mark.parametrize("fault", ["total failure", "0.1 -> 5 %"])
def test_a_bad_release_costs_at_most_fifteen_users_and_a_twentieth_of_flaggers(fault: str):
    """200 requests a second, everybody on the documented path: all are taken back, at this median cost."""
    shape = shapes.STEPS[fault]
    found = played(shape, on_own_paths({}), *OURS, FLAGGER, horizon_s=420.0, size=7, fine_s=20.0)
    assert all(one.condemned.all() for one in found.values())
    assert all(cost(found[name]) <= 15 for name in OURS)
    assert 20 * max(cost(found[name]) for name in OURS) <= cost(found[FLAGGER])


@pytest.mark.parametrize("name", ["warm-up x100, 5 s", "warm-up x3 for 60 s", "warm-up x10, 100 requests"])
def test_a_version_that_warms_up_is_not_condemned_for_it(name: str):
    """2,000 requests a second on the default ramp: none of 16 (a rate of a quarter would show, surely at 99 %)."""
    found = played(shapes.WARM_UPS[name].at(2000.0), on_own_paths({}), KEY, horizon_s=130.0, size=16)[KEY]
    assert not found.condemned.any()
    assert cost(found) <= 5


def test_the_same_version_would_be_condemned_if_its_first_minute_counted():
    """The claim above can fail: of 16, at least 4 where the Guard says that a version is warm at once."""
    warm = Guard(service="arena", judge=replace(WITH_KEY, warm_up_s=0.0))
    shape = shapes.WARM_UPS["warm-up x100, 5 s"].at(2000.0)
    assert played(shape, {KEY: lambda: Sternway(warm)}, KEY, horizon_s=60.0, size=16)[KEY].condemned.sum() >= 4


def test_in_retry_storms_only_the_key_saves_withdrawals():
    """A healthy release in storms, ten minutes at 200 requests a second: condemned by neither."""
    shape = shapes.CLUSTERED["clusters: retry back-off"]
    found = played(shape, at_weight(10.0), *OURS, horizon_s=600.0, size=4)
    assert not any(one.condemned.any() for one in found.values())
    assert found[KEY].withdrawals.sum() <= found[NO_KEY].withdrawals.sum()


def test_what_is_promoted_unseen_costs_until_the_end():
    """Flagger never sees 0.5 %: promoted after five minutes, every request of the rest of the hour counts."""
    found = played(shapes.STEPS["0.1 -> 0.5 %"], on_own_paths({}), FLAGGER, horizon_s=3600.0)[FLAGGER]
    assert found.shipped_s.tolist() == [300.0] * 10
    assert cost(found) == pytest.approx(200 * 0.004 * 3300, rel=0.05)


def test_settings_are_tried_on_a_recording_as_they_would_be_played():
    """The search's shortcut ends releases exactly when the rule itself does, for each rule."""
    shape = Shape(rate_per_s=200.0, stable=0.005, candidate=0.015)
    told = record(shape, seed=9, size=12, percent=10.0, looks_s=1800.0)
    flagger = FlaggerSettings(interval_s=20.0, threshold=3, success_percent=98.5, window_s=60.0)
    argo = ArgoSettings(interval_s=30.0, failure_limit=2, success=0.98, window_s=15.0)
    kayenta, ends = next(one for one in ends_of_kayenta(told) if one[0].allowed_increase == 1.5)
    rules = {
        FLAGGER: Flagger(flagger, steady(10.0)),
        ARGO: Argo(argo, steady(10.0)),
        KAYENTA: Kayenta(kayenta, steady(10.0)),
    }
    found = play(World(shape, seed=9, size=12, horizon_s=1800.0), rules)
    np.testing.assert_array_equal(ends_of_flagger(flagger, told), found[FLAGGER].condemned_s)
    np.testing.assert_array_equal(ends_of_argo(argo, told), found[ARGO].condemned_s)
    np.testing.assert_array_equal(ends, found[KAYENTA].condemned_s)


def test_shapes_to_tune_on_are_named_and_others_are_held_out():
    """Every name of TUNING is a shape of the table; healthy ones, faults and clusters are held out too."""
    some = (
        shapes.COMMON,
        shapes.CLUSTERED,
        shapes.REPLICAS,
        shapes.STEPS,
        shapes.TIMED,
        shapes.SLOWER,
        shapes.WARM_UPS,
    )
    named = {name for group in (shapes.BASES, *some) for name in group}
    assert named >= shapes.TUNING
    for group in some:
        assert set(group) - shapes.TUNING


def test_a_seed_gives_the_same_numbers():
    """Played twice, every number of every rule is the same."""
    first, second = (
        played(healthy(0.02, rate_per_s=50.0), at_weight(10.0), *OURS, FLAGGER, ARGO, KAYENTA, horizon_s=120.0)
        for _ in range(2)
    )
    for name, one in first.items():
        for field in Outcome.__slots__:
            np.testing.assert_array_equal(getattr(one, field), getattr(second[name], field))


def test_cells_become_tables_with_rules_across():
    """One table a section and measure; what a rule lacks is a dash."""
    rows = [
        Result(name="healthy; 2/s; Flagger; taken back", value=4.25, unit="%"),
        Result(name="healthy; 2/s; Argo; taken back", value=0.0, unit="%"),
        Result(name="healthy; 20/s; Flagger; taken back", value=12.0, unit="%"),
    ]
    ((title, lines),) = tables(rows)
    assert title.startswith("Healthy releases")
    assert lines == [["taken back (%)", "Flagger", "Argo"], ["2/s", "4.25", "0"], ["20/s", "12", "-"]]
    assert all(row.detail for row in rows)


def test_the_page_shows_what_was_played():
    """The tables of docs/arena.md are those of bench/results/arena.json."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == render().strip()

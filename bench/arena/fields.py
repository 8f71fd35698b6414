"""Who takes part: each rule with its settings and its path, by the name that the tables show. Used by `bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.arena.ours import Sternway, fixed
from bench.arena.peers import (
    ARGO_PATH,
    FLAGGER_PATH,
    KAYENTA_PATH,
    Argo,
    Flagger,
    Kayenta,
    Path,
    steady,
)
from bench.arena.rules import Rule
from bench.arena.tuning import LOOKS_S, Best
from sternway.backtest.peers.argo import ArgoSettings
from sternway.backtest.peers.flagger import FlaggerSettings
from sternway.backtest.peers.kayenta import KayentaSettings
from sternway.domain.guards import EDITION, WARM_UP_S, Canary, Guard, JudgeSettings
from sternway.domain.tallies import ClusterKey

KEY, NO_KEY = "Sternway, key", "Sternway, no key"
FLAGGER, ARGO, KAYENTA = "Flagger", "Argo", "Kayenta"
BEST = {"flagger": "Flagger, best", "argo": "Argo, best", "kayenta": "Kayenta, best"}
OURS = (KEY, NO_KEY)
PROMISED = JudgeSettings().false_rollback_rate
ERRORS_ALONE = JudgeSettings(latency_quantiles=(), alone=(), warm_up_s=WARM_UP_S, edition=EDITION)
WITH_KEY = replace(ERRORS_ALONE, cluster_key=ClusterKey(header="x-user"))
LAST_PERCENT, LAST_S = 50.0, 120.0
"""The best settings look at their weight for as long as they were tuned for, and two minutes at half of the traffic."""

Make = Callable[[], Rule]


def at_weight(percent: float) -> dict[str, Make]:
    """Documented settings, and Sternway's defaults, all at the same weight to the end."""
    path, strategy = steady(percent), Canary(steps=fixed(percent))
    return {
        KEY: lambda: Sternway(Guard(service="arena", judge=WITH_KEY, strategy=strategy)),
        NO_KEY: lambda: Sternway(Guard(service="arena", judge=ERRORS_ALONE, strategy=strategy)),
        FLAGGER: lambda: Flagger(FlaggerSettings(), path),
        ARGO: lambda: Argo(ArgoSettings(), path),
        KAYENTA: lambda: Kayenta(KayentaSettings(), path),
    }


def on_own_paths(best: Mapping[str, Best]) -> dict[str, Make]:
    """Everybody as documented, from the first request to the promotion; and the peers' best settings."""
    found: dict[str, Make] = {
        KEY: lambda: Sternway(Guard(service="arena", judge=WITH_KEY)),
        NO_KEY: lambda: Sternway(Guard(service="arena", judge=ERRORS_ALONE)),
        FLAGGER: lambda: Flagger(FlaggerSettings(), FLAGGER_PATH),
        ARGO: lambda: Argo(ArgoSettings(), ARGO_PATH),
        KAYENTA: lambda: Kayenta(KayentaSettings(), KAYENTA_PATH),
    }
    return found | {BEST[rule]: _tuned(one) for rule, one in best.items()}


def timed() -> dict[str, Make]:
    """Where durations are told: 10 % of the traffic, every default, and Sternway with half the margin."""
    judged = replace(WITH_KEY, latency_quantiles=JudgeSettings().latency_quantiles)
    strategy = Canary(steps=fixed(10.0))

    def ours(settings: JudgeSettings) -> Make:
        return lambda: Sternway(Guard(service="arena", judge=settings, strategy=strategy))

    peers = {name: make for name, make in at_weight(10.0).items() if name in (FLAGGER, KAYENTA)}
    return {KEY: ours(judged), f"{KEY}, 5 %": ours(replace(judged, latency_worse_than_percent=5.0)), **peers} | {
        f"{KAYENTA}, 10 min": lambda: Kayenta(KayentaSettings(interval_s=600.0), steady(10.0))
    }


def _tuned(best: Best) -> Make:
    settings = best.settings
    if isinstance(settings, KayentaSettings):
        return lambda: Kayenta(settings, KAYENTA_PATH)
    every_s = settings.interval_s if isinstance(settings, FlaggerSettings) else LAST_S
    times, last = round(LOOKS_S / every_s), max(1, round(LAST_S / every_s))
    percents = (best.percent,) * times + (LAST_PERCENT,) * last
    if isinstance(settings, FlaggerSettings):
        return lambda: Flagger(settings, Path(percents=percents, earned=True, ends=True))
    return lambda: Argo(settings, Path(percents=percents, every_s=every_s, ends=True))

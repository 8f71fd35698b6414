"""What releases look like: traffic, errors, clusters, incidents, replicas, durations. Used by `streams` and `durations`.

A shape states a service and what its candidate does. `HEALTHY` and `FAULTS` name those of the table; a rule may be
tuned on those of `TUNING` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

MINUTE = 60.0


class Cluster(StrEnum):
    """How bad answers come together. All of a cluster are the same caller's: they share an arm and a cluster key."""

    NONE = "none"
    GEOMETRIC_3 = "geometric 3"
    GEOMETRIC_10 = "geometric 10"
    PARETO = "Pareto 1.5"
    LOG_NORMAL = "log-normal over 5 s"
    RETRY = "retry back-off"
    SPREAD = "spread over 30 s"


class Load(StrEnum):
    """How traffic changes. MOVING: a day in an hour, noise, and three bursts of four times the traffic."""

    STEADY = "steady"
    MOVING = "moving"


class Replicas(StrEnum):
    """What replicas do to error rates. ONE_BAD: in every fifth release one of three replicas errs twenty times as much."""

    ALIKE = "alike"
    SIGMA_3 = "log-normal .3"
    SIGMA_6 = "log-normal .6"
    ONE_BAD = "one bad"


class Slow(StrEnum):
    """What the candidate does to durations."""

    NO = "as fast"
    BODY = "p50 +10 %"
    HALF_AGAIN = "p50 +50 %"
    P99 = "p99 doubled"
    TAIL = "1 % take 2 s more"


class Spells(StrEnum):
    """What slows both versions by spells, replica by replica: three of the candidate's, twenty-seven of stable's.

    PAUSE_1: a second in a minute; PAUSE_10: ten seconds in ten minutes; DRIFT: AR(1), sd 10 %, 10 s, and 3 % for good.
    """

    NO = "none"
    PAUSE_1 = "pauses of 1 s"
    PAUSE_10 = "pauses of 10 s"
    DRIFT = "drift"


class Warming(StrEnum):
    """How a warm-up passes: it fades with a time constant, ends at once, or fades with the candidate's own requests."""

    FADES = "fades"
    ENDS = "ends"
    BY_REQUESTS = "by requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A service and its candidate.

    rate_per_s: requests. stable, candidate: error rates (0..1). leak_s: the candidate's rises to `candidate` in this
    time, from stable's. incident: how many times as many errors both have from minute 20 to 30. warm_up: how many times
    as many the candidate has at first; lasts: for how long (seconds, or requests). timed: durations are told as well.
    """

    rate_per_s: float = 200.0
    stable: float = 0.001
    candidate: float = 0.001
    leak_s: float = 0.0
    cluster: Cluster = Cluster.NONE
    load: Load = Load.STEADY
    incident: float = 1.0
    replicas: Replicas = Replicas.ALIKE
    warm_up: float = 1.0
    lasts: float = 20.0
    warming: Warming = Warming.FADES
    timed: bool = False
    slow: Slow = Slow.NO
    spells: Spells = Spells.NO

    @property
    def harmful(self) -> bool:
        """Whether the candidate is worse than stable."""
        return self.candidate > self.stable or self.slow is not Slow.NO

    def at(self, rate_per_s: float) -> Shape:
        """Give the same with other traffic."""
        return replace(self, rate_per_s=rate_per_s)


def healthy(rate: float, **more: object) -> Shape:
    """A candidate like stable."""
    return Shape(stable=rate, candidate=rate, **more)  # type: ignore[arg-type]


STEPS = {
    "0.1 -> 0.5 %": Shape(stable=0.001, candidate=0.005),
    "1 -> 2 %": Shape(stable=0.01, candidate=0.02),
    "0.1 -> 5 %": Shape(stable=0.001, candidate=0.05),
    "0.2 -> 2 %": Shape(stable=0.002, candidate=0.02),
    "total failure": Shape(stable=0.001, candidate=1.0),
    "leak to 5 % in 30 min": Shape(stable=0.001, candidate=0.05, leak_s=30 * MINUTE),
}
BASES = {"0.01 %": healthy(0.0001), "0.1 %": healthy(0.001), "1 %": healthy(0.01), "2 %": healthy(0.02)}
COMMON = {
    "incident x50 of both": healthy(0.001, incident=50.0),
    "both at 3 %": healthy(0.03),
    "moving load": healthy(0.002, load=Load.MOVING),
    "moving load, incident x50": healthy(0.001, load=Load.MOVING, incident=50.0),
}
CLUSTERED = {f"clusters: {one.value}": healthy(0.002, cluster=one) for one in Cluster if one is not Cluster.NONE}
REPLICAS = {
    "replicas differ, sigma .3": healthy(0.002, replicas=Replicas.SIGMA_3),
    "replicas differ, sigma .6": healthy(0.002, replicas=Replicas.SIGMA_6),
    "one bad replica in every fifth": healthy(0.002, replicas=Replicas.ONE_BAD),
    "warm-up x10, 20 s": healthy(0.002, warm_up=10.0),
}
WARM_UPS = {
    "warm-up x10, 20 s": REPLICAS["warm-up x10, 20 s"],
    "warm-up x100, 5 s": healthy(0.002, warm_up=100.0, lasts=5.0),
    "warm-up x3 for 60 s": healthy(0.002, warm_up=3.0, lasts=60.0, warming=Warming.ENDS),
    "warm-up x3, 60 s": healthy(0.002, warm_up=3.0, lasts=60.0),
    "warm-up x5, 30 s": healthy(0.002, warm_up=5.0, lasts=30.0),
    "warm-up x20, 100 requests": healthy(0.002, warm_up=20.0, lasts=100.0, warming=Warming.BY_REQUESTS),
    "warm-up x10, 100 requests": healthy(0.002, warm_up=10.0, lasts=100.0, warming=Warming.BY_REQUESTS),
    "warm-up x10, 300 requests": healthy(0.002, warm_up=10.0, lasts=300.0, warming=Warming.BY_REQUESTS),
    "warm-up x50, 50 requests": healthy(0.002, warm_up=50.0, lasts=50.0, warming=Warming.BY_REQUESTS),
}
"""What a fresh candidate goes through, on the own paths: how many times as many errors, and how it passes."""

TIMED = {
    "as fast": healthy(0.001, timed=True),
    "pauses of 1 s": healthy(0.001, timed=True, spells=Spells.PAUSE_1),
    "pauses of 10 s": healthy(0.001, timed=True, spells=Spells.PAUSE_10),
    "drift": healthy(0.001, timed=True, spells=Spells.DRIFT),
}
SLOWER = {one.value: healthy(0.001, timed=True, slow=one) for one in Slow if one is not Slow.NO}

TUNING = frozenset(
    {
        *BASES,
        "0.1 -> 0.5 %",
        "0.1 -> 5 %",
        "total failure",
        "moving load",
        "clusters: geometric 3",
        "clusters: retry back-off",
        "clusters: geometric 10",
        "clusters: spread over 30 s",
        "warm-up x10, 20 s",
        "warm-up x3, 60 s",
        "warm-up x10, 100 requests",
        "warm-up x10, 300 requests",
        "warm-up x50, 50 requests",
        "as fast",
        "pauses of 1 s",
        "p50 +50 %",
    }
)
"""What a rule may be tuned on. Every other shape is held out: it is looked at to report, never to choose."""

"""How traffic and error rates of R releases change, second by second. Used by `streams`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.arena.chance import Floats, generator
from bench.arena.shapes import Load, Replicas, Shape, Warming

INCIDENT_S = (1200.0, 1800.0)
BURST_S, BURSTS, BURST_TIMES = 60.0, 3, 4.0
DAY_S, SWING = 3600.0, 0.5
NOISE_SD, NOISE_S = 0.25, 30.0
SHARED_SD, SHARED_S = 0.4, 120.0
OURS, THEIRS = 3, 27
"""Replicas of the candidate and of stable."""
_LOAD, _BURST, _NOISE, _SHARED, _REPLICAS = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """load [S, R]: requests a second; stable, candidate [S, R]: error rates, 0..1, were all traffic theirs."""

    load: Floats
    stable: Floats
    candidate: Floats


def rates(shape: Shape, seed: int, size: int, horizon_s: float) -> Rates:
    """Lay out the whole horizon."""
    seconds = int(np.ceil(horizon_s)) + 1
    at_s = np.arange(seconds, dtype=np.float64)[:, None]
    load = np.full((seconds, size), shape.rate_per_s)
    stable = np.full((seconds, size), shape.stable)
    if shape.load is Load.MOVING:
        load = load * _moving(seed, at_s, size)
        stable = stable * np.exp(drift(generator(seed, _SHARED), seconds, size, sd=SHARED_SD, tau_s=SHARED_S))
    if shape.incident != 1.0:
        stable = np.where((at_s >= INCIDENT_S[0]) & (at_s < INCIDENT_S[1]), stable * shape.incident, stable)
    stable = np.minimum(stable, 0.9)
    part = np.minimum(1.0, at_s / shape.leak_s) if shape.leak_s else 1.0
    worse = shape.stable + (shape.candidate - shape.stable) * part
    candidate = stable * (worse / shape.stable) if shape.candidate < 1.0 else np.ones_like(stable)
    ours, theirs = _replicas(shape, seed, size)
    candidate = candidate * ours
    if shape.warming is not Warming.BY_REQUESTS:
        candidate = candidate * warm_up(shape, at_s)
    return Rates(load=load, stable=np.minimum(stable * theirs, 1.0), candidate=np.minimum(candidate, 1.0))


def warm_up(shape: Shape, spent: Floats) -> Floats:
    """How many times as many errors a fresh candidate has after so many seconds, or requests."""
    left = np.where(spent < shape.lasts, 1.0, 0.0) if shape.warming is Warming.ENDS else np.exp(-spent / shape.lasts)
    return 1.0 + (shape.warm_up - 1.0) * left


def drift(rng: np.random.Generator, seconds: int, size: int, *, sd: float, tau_s: float) -> Floats:
    """AR(1) noise [S, R] with this standard deviation and time constant."""
    keeps = np.exp(-1.0 / tau_s)
    new = rng.standard_normal((seconds, size)) * sd
    found = np.empty((seconds, size))
    found[0] = new[0]
    for second in range(1, seconds):
        found[second] = keeps * found[second - 1] + np.sqrt(1.0 - keeps * keeps) * new[second]
    return found


def _moving(seed: int, at_s: Floats, size: int) -> Floats:
    seconds = len(at_s)
    phase = generator(seed, _LOAD).random(size) * 2.0 * np.pi
    found = (1.0 + SWING * np.sin(2.0 * np.pi * at_s / DAY_S + phase)) * np.exp(
        drift(generator(seed, _NOISE), seconds, size, sd=NOISE_SD, tau_s=NOISE_S)
    )
    for begin_s in generator(seed, _BURST).random((BURSTS, size)) * max(seconds, DAY_S):
        found = np.where((at_s >= begin_s) & (at_s < begin_s + BURST_S), found * BURST_TIMES, found)
    return np.asarray(found, dtype=np.float64)


def _replicas(shape: Shape, seed: int, size: int) -> tuple[Floats, Floats]:
    """How many times the usual error rate either version has, because of its replicas."""
    rng = generator(seed, _REPLICAS)
    if shape.replicas is Replicas.ALIKE:
        return np.ones(size), np.ones(size)
    if shape.replicas is Replicas.ONE_BAD:
        return np.where(np.arange(size) % 5 == 0, (OURS - 1.0 + 20.0) / OURS, 1.0), np.ones(size)
    sigma = 0.3 if shape.replicas is Replicas.SIGMA_3 else 0.6
    drawn = np.exp(sigma * rng.standard_normal((OURS + THEIRS, size)))
    return drawn[:OURS].mean(axis=0), drawn[OURS:].mean(axis=0)

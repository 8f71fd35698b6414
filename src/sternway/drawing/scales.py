"""From seconds and odds to places. Used by `figure` and `terminal`, so that both draw the same."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, log10

from sternway.domain.trails import Track, Trail

LOWEST = 0.1
"""Evidence below 1 to 10 is drawn there: it speaks for the candidate, and how much does not matter."""
BEYOND = 1000.0
"""How far beyond what condemns a curve is drawn; higher ones are cut off."""
SPEAKS = 3.0
"""Criteria that never reached this many to one are named, not drawn."""
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def speaking(trail: Trail) -> tuple[Track, ...]:
    """Give the criteria that are worth a panel, the loudest first; at least one where there is any."""
    ordered = sorted(trail.tracks, key=lambda track: -track.peak / max(track.needed, 1.0))
    return tuple(track for at, track in enumerate(ordered) if at == 0 or track.peak >= SPEAKS)


def silent(trail: Trail) -> tuple[str, ...]:
    """Name the criteria that are not worth one."""
    drawn = speaking(trail)
    return tuple(f"{track.name} by {track.unit}" for track in trail.tracks if track not in drawn)


def span_s(trail: Trail) -> tuple[float, float]:
    """When a trail begins and ends; never less than a second."""
    if not trail.times_s:
        return 0.0, 1.0
    start_s, end_s = trail.times_s[0], trail.times_s[-1]
    return start_s, max(end_s, start_s + 1.0)


def top(track: Track) -> float:
    """Where the scale of a track ends: above its curve and above what condemns, on a power of ten."""
    highest = max(min(track.peak, track.needed * BEYOND), track.needed, *track.suspects_at, 1.0)
    return 10.0 ** ceil(log10(highest * 1.5))


def height(value: float, highest: float) -> float:
    """Give the place of evidence between the bottom (0) and the top (1), on a scale of logarithms."""
    inside = min(max(value, LOWEST), highest)
    return log10(inside / LOWEST) / log10(highest / LOWEST)


def powers(highest: float) -> Iterator[float]:
    """Powers of ten for a scale, at most seven of them."""
    most = round(log10(highest))
    step = max(1, ceil((most + 1) / 6))
    yield from (10.0**power for power in range(0, most + 1, step))


def ticks_s(length_s: float, at_most: int) -> Iterator[float]:
    """Give round times from the start."""
    step_s = next((step for step in _STEPS_S if length_s / step <= at_most), _STEPS_S[-1])
    yield from (step_s * at for at in range(floor(length_s / step_s) + 1))


def time_words(seconds: float) -> str:
    """Say a round time: `0`, `30 s`, `5 min`, `1.5 h`."""
    if seconds == 0:
        return "0"
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def odds(value: float) -> str:
    """Say evidence: `20`, `182`, `4,100`, `10^8`."""
    if value >= 1e6:
        return f"10^{log10(value):.0f}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"

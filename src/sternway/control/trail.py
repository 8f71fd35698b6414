"""A release's evidence over time, recomputed from the journal as a replay does. Used by the command line; needs no platform.

Where single passes were rolled up, what is left are the lines on which something changed: fewer points, the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sternway.control.replay import passes
from sternway.domain.releases import Phase, Release
from sternway.domain.trails import Trail, TrailMaker
from sternway.ports import Entry

_CARRIES = (Phase.EXPOSED, Phase.BAKING)


def trail(release: str, entries: Sequence[Entry]) -> Trail:
    """Follow a release through what the journal holds of it."""
    maker = TrailMaker(release)
    looks = [(at_s, found) for at_s, found in _followed(entries) if found.name == release]
    if not looks:
        maker.whole = False
        looks = [(at_s, found) for at_s, found in _checkpoints(entries) if found.name == release]
    for at_s, found in looks:
        judged = None if found.phase is Phase.STARTING else found.judgement
        maker.look(at_s, found.phase.value, found.percent if found.phase in _CARRIES else 0.0, judged)
        if found.phase.over:
            maker.over(at_s)
            break
    return maker.trail()


def _followed(entries: Sequence[Entry]) -> Iterable[tuple[float, Release]]:
    for entry, again in passes(entries):
        if again.progress.release is not None:
            yield entry.at_s, again.progress.release


def _checkpoints(entries: Iterable[Entry]) -> Iterable[tuple[float, Release]]:
    for entry in entries:
        if entry.progress is not None and entry.progress.release is not None:
            yield entry.at_s, entry.progress.release

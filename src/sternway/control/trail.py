"""A release's evidence over time, recomputed from the journal as a replay does. Used by the command line; needs no platform.

Before single passes are rolled up, `condense` keeps the course of the evidence in a few kilobytes; an older journal that
lacks it has at least the lines on which something changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from sternway.control.replay import passes, rolled_up
from sternway.domain.releases import Phase, Release
from sternway.domain.trails import Track, Trail, TrailMaker
from sternway.ports import EVIDENCE, Entry

CONDENSED_LOOKS = 60
SPEAKS = 3.0
"""Criteria that never reached this many to one are not kept."""
_TRAIL = TypeAdapter(Trail)
_CARRIES = (Phase.EXPOSED, Phase.BAKING)


def trail(release: str, entries: Sequence[Entry]) -> Trail:
    """Follow a release through what the journal holds of it."""
    kept = next((entry.text for entry in entries if entry.kind == EVIDENCE), None)
    if kept is not None:
        return _TRAIL.validate_json(kept)
    return _made(TrailMaker(release), release, entries)


def condense(release: str, entries: Sequence[Entry]) -> str:
    """Keep of a release's evidence what a plot needs: some dozens of looks at the criteria that ever spoke."""
    if rolled_up(entries):
        return ""
    found = _made(TrailMaker(release, at_most=CONDENSED_LOOKS), release, entries)
    tracks = tuple(_rounded(track) for track in found.tracks if track.peak >= SPEAKS)
    return _TRAIL.dump_json(replace(found, tracks=tracks, whole=False)).decode()


def _rounded(track: Track) -> Track:
    def short(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(f"{value:.4g}") for value in values)

    return replace(
        track,
        e_values=short(track.e_values),
        suspects_at=short(track.suspects_at),
        exposure_e_values=short(track.exposure_e_values),
    )


def _made(maker: TrailMaker, release: str, entries: Sequence[Entry]) -> Trail:
    maker.whole = not rolled_up(entries)
    looks = _followed(entries) if maker.whole else _checkpoints(entries)
    for at_s, found in looks:
        if found.name != release:
            continue
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

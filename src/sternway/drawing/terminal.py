"""A trail in letters, for a terminal: a panel for each criterion that speaks, the split, the time axis."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sternway.domain.trails import Track, Trail
from sternway.drawing.figure import SHADED
from sternway.drawing.scales import height, odds, silent, span_s, speaking, ticks_s, time_words, top

ROWS = 9
LABEL = 18
NARROWEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """What is drawn with."""

    evidence: str = "█"
    exposure: str = "•"
    condemns: str = "━"
    suspects: str = "┄"
    shade: str = "░"
    shares: str = " ▁▂▃▄▅▆▇█"


ASCII = Letters(evidence="#", exposure="o", condemns="=", suspects="-", shade=":", shares=" .:-=+*#@")


def lines(trail: Trail, *, columns: int, ascii_only: bool = False) -> Iterator[str]:
    """Draw; `columns` is how wide the terminal is."""
    letters = ASCII if ascii_only else Letters()
    width = max(NARROWEST, columns - LABEL - 1)
    start_s, end_s = span_s(trail)
    times = [start_s + (end_s - start_s) * (column + 1) / width for column in range(width)]
    if not trail.tracks:
        yield "nothing was judged yet"
        return
    for track in speaking(trail):
        yield f"{track.name}, by {track.unit} ({letters.evidence} evidence, {letters.exposure} of this exposure)"
        yield from _panel(trail, track, times, letters)
        yield ""
    shown = [_at(trail, trail.percents, at_s) for at_s in times]
    most = len(letters.shares) - 1
    bar = "".join(letters.shares[max(1, round(percent / 100 * most)) if percent > 0 else 0] for percent in shown)
    yield f"{'share of traffic':>{LABEL - 1}} {bar}"
    yield f"{'':>{LABEL - 1}} {_axis(end_s - start_s, width)}"
    yield f"{letters.shade} withdrawn or taken back"
    quiet = silent(trail)
    if quiet:
        yield f"never spoke: {', '.join(quiet)}"
    if not trail.whole:
        yield "single looks were rolled up: points only where something changed"


def _panel(trail: Trail, track: Track, times: Sequence[float], letters: Letters) -> Iterator[str]:
    highest = top(track)
    shaded = [_shaded(trail, at_s) for at_s in times]
    cells = [[letters.shade if shade else " " for shade in shaded] for _ in range(ROWS)]

    def row(value: float) -> int:
        return ROWS - 1 - round(height(value, highest) * (ROWS - 1))

    def draw(values: Sequence[float], letter: str) -> None:
        before = 0
        for column, at_s in enumerate(times):
            until = bisect_right(trail.times_s, at_s)
            # A peak between two columns would not be seen otherwise.
            cells[row(max(values[min(before, until - 1) : until]))][column] = letter
            before = until

    draw(track.suspects_at, letters.suspects)
    draw([track.needed] * len(trail.times_s), letters.condemns)
    draw(track.exposure_e_values, letters.exposure)
    draw(track.e_values, letters.evidence)
    labels = {row(1.0): "1", 0: odds(highest)}
    labels[row(track.suspects_at[-1])] = f"withdraws {odds(track.suspects_at[-1])}"
    labels[row(track.needed)] = f"condemns {odds(track.needed)}"
    for at, line in enumerate(cells):
        yield f"{labels.get(at, ''):>{LABEL - 1}} {''.join(line)}".rstrip()


def _at(trail: Trail, values: Sequence[float], at_s: float) -> float:
    """Give the value that held at a time."""
    return values[max(0, bisect_right(trail.times_s, at_s) - 1)]


def _shaded(trail: Trail, at_s: float) -> bool:
    return any(
        stretch.phase in SHADED and stretch.start_s <= at_s and (stretch.end_s is None or at_s < stretch.end_s)
        for stretch in trail.stretches
    )


def _axis(length_s: float, width: int) -> str:
    axis = [" "] * (width + 8)
    for at_s in ticks_s(length_s, max(2, width // 12)):
        words = time_words(at_s)
        column = min(int(at_s / length_s * width), width)
        axis[column : column + len(words)] = words
    return "".join(axis).rstrip()

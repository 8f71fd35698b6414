"""The layout of a picture: a panel for each criterion that speaks, one for the split, one time axis. Made for `svg` and `png`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sternway.domain.trails import Track, Trail
from sternway.drawing.scales import height, odds, powers, silent, span_s, speaking, ticks_s, time_words, top

WIDTH, LEFT, RIGHT = 960.0, 64.0, 150.0
TITLE, PANEL, GAP, SPLIT, AXIS = 54.0, 150.0, 34.0, 60.0, 16.0
SHADED = {"withdrawn": "withdrawn", "asking": "withdrawn", "rolling-back": "taken-back", "rolled-back": "taken-back"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle."""

    role: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Straight lines from point to point."""

    role: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A line of text; (x, y) is its base. anchor: start, middle or end."""

    role: str
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Shapes that belong together, the lowest first. about: the criterion, `split`, or `frame`."""

    about: str
    shapes: tuple[Box | Curve | Words, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture. title, description: for who cannot see it."""

    width: float
    height: float
    title: str
    description: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel stands, and what its time axis spans."""

    y: float
    height: float
    start_s: float
    end_s: float

    def x(self, at_s: float) -> float:
        share = (at_s - self.start_s) / (self.end_s - self.start_s)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def up(self, share: float) -> float:
        return self.y + (1.0 - share) * self.height


def figure(trail: Trail) -> Figure:
    """Lay a picture out."""
    start_s, end_s = span_s(trail)
    tracks = speaking(trail)
    panels: list[Panel] = []
    y = TITLE
    for track in tracks:
        panels.append(_evidence(trail, track, _Frame(y + GAP / 2, PANEL, start_s, end_s)))
        y += PANEL + GAP
    panels.append(_split(trail, _Frame(y + GAP / 2, SPLIT, start_s, end_s)))
    y += SPLIT + GAP
    title = f"{trail.release}: evidence over time"
    panels.append(Panel(about="frame", shapes=tuple(_frame(trail, title, _Frame(y, 0.0, start_s, end_s)))))
    return Figure(
        width=WIDTH,
        height=y + AXIS,
        title=title,
        description="; ".join(_describe(track) for track in tracks) or "nothing was judged",
        panels=tuple(panels),
    )


def _describe(track: Track) -> str:
    return f"{track.name} by {track.unit}: at most {odds(track.peak)} to 1, condemns at {odds(track.needed)} to 1"


def _evidence(trail: Trail, track: Track, frame: _Frame) -> Panel:
    highest = top(track)
    suspects = track.suspects_at[-1] if track.suspects_at else 0.0

    def curve(role: str, values: Sequence[float]) -> Curve:
        points = [
            (frame.x(at_s), frame.up(height(value, highest))) for at_s, value in zip(trail.times_s, values, strict=True)
        ]
        return Curve(role=role, points=tuple(_stepped(points, frame.x(frame.end_s))))

    shapes: list[Box | Curve | Words] = [_ground(frame), *_shades(trail, frame), *_grid(frame, highest)]
    shapes.append(curve("suspicion", track.suspects_at))
    shapes.append(curve("condemnation", [track.needed] * len(trail.times_s)))
    shapes.append(curve("exposure", track.exposure_e_values))
    shapes.append(curve("evidence", track.e_values))
    right = WIDTH - RIGHT + 8.0
    heading = f"{track.name}, by {track.unit}"
    condemns_y, suspects_y = (frame.up(height(value, highest)) + 4.0 for value in (track.needed, suspects))
    suspects_y = max(suspects_y, condemns_y + 14.0)
    shapes.append(Words(role="heading", x=LEFT, y=frame.y - 6.0, text=heading))
    shapes.append(Words(role="condemnation", x=right, y=condemns_y, text=f"condemns at {odds(track.needed)} to 1"))
    shapes.append(Words(role="suspicion", x=right, y=suspects_y, text=f"withdraws at {odds(suspects)} to 1"))
    return Panel(about=f"{track.name}/{track.unit}", shapes=tuple(shapes))


def _split(trail: Trail, frame: _Frame) -> Panel:
    points = [
        (frame.x(at_s), frame.up(percent / 100.0)) for at_s, percent in zip(trail.times_s, trail.percents, strict=True)
    ]
    shapes: list[Box | Curve | Words] = [_ground(frame), *_shades(trail, frame)]
    for (x, y), (next_x, _) in pairwise(_stepped(points, frame.x(frame.end_s))):
        if next_x > x and y < frame.up(0.0):
            shapes.append(Box(role="share", x=x, y=y, width=next_x - x, height=frame.up(0.0) - y))
    shapes.append(Words(role="heading", x=LEFT, y=frame.y - 6.0, text="the candidate's share of the traffic"))
    for percent in (0, 100):
        y = frame.up(percent / 100) + 4.0
        shapes += [Words(role="scale", x=LEFT - 6.0, y=y, text=f"{percent} %", anchor="end")]
    return Panel(about="split", shapes=tuple(shapes))


def _ground(frame: _Frame) -> Box:
    return Box(role="ground", x=LEFT, y=frame.y, width=WIDTH - LEFT - RIGHT, height=frame.height)


def _shades(trail: Trail, frame: _Frame) -> Iterator[Box]:
    for stretch in trail.stretches:
        role = SHADED.get(stretch.phase)
        x, end = frame.x(stretch.start_s), frame.x(frame.end_s if stretch.end_s is None else stretch.end_s)
        if role is not None and end > x:
            yield Box(role=role, x=x, y=frame.y, width=end - x, height=frame.height)


def _grid(frame: _Frame, highest: float) -> Iterator[Curve | Words]:
    for power in powers(highest):
        y = frame.up(height(power, highest))
        yield Curve(role="grid", points=((LEFT, y), (WIDTH - RIGHT, y)))
        yield Words(role="scale", x=LEFT - 6.0, y=y + 4.0, text=odds(power), anchor="end")


def _stepped(points: Sequence[tuple[float, float]], end_x: float) -> Iterator[tuple[float, float]]:
    """Hold each value until the next look: between two looks nothing is known."""
    for (x, y), (next_x, _) in pairwise((*points, (end_x, 0.0))):
        yield x, y
        yield next_x, y


def _frame(trail: Trail, title: str, frame: _Frame) -> Iterator[Box | Curve | Words]:
    yield Words(role="title", x=LEFT, y=24.0, text=title)
    quiet = silent(trail)
    words = [f"never spoke: {', '.join(quiet)}"] if quiet else []
    words += [] if trail.whole else ["single looks were rolled up: points only where something changed"]
    yield Words(
        role="note", x=LEFT, y=40.0, text="; ".join(words) or "shaded: withdrawn; thin: evidence of the exposure"
    )
    for at_s in ticks_s(frame.end_s - frame.start_s, 10):
        x = frame.x(frame.start_s + at_s)
        yield Curve(role="tick", points=((x, frame.y - GAP / 2), (x, frame.y - GAP / 2 + 5.0)))
        yield Words(role="scale", x=x, y=frame.y - GAP / 2 + 18.0, text=time_words(at_s), anchor="middle")

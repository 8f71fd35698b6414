"""A figure as PNG, with Pillow (the optional extra `png`) and the font that comes with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from math import hypot
from typing import TYPE_CHECKING

from sternway.drawing.figure import Box, Curve, Figure, Words
from sternway.drawing.style import STYLES
from sternway.errors import Refused

if TYPE_CHECKING:
    from PIL import ImageDraw

SCALE = 2
"""Dots for a unit of the layout; drawn twice as large again, and reduced, so that lines are smooth."""
_FINE = 2 * SCALE
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}

Point = tuple[float, float]


def png(figure: Figure) -> bytes:
    """Write the file. Raises Refused where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw  # noqa: PLC0415  an optional extra
    except ImportError as exc:
        hint = "pip install 'sternway[png]', or name a file that ends in .svg"
        raise Refused("a PNG needs Pillow, which is not installed", hint=hint) from exc
    size = (round(figure.width), round(figure.height))
    image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), "#ffffff")
    draw = ImageDraw.Draw(image)
    for panel in figure.panels:
        for shape in panel.shapes:
            _draw(draw, shape)
    smooth = image.resize((size[0] * SCALE, size[1] * SCALE), Image.Resampling.LANCZOS)
    file = BytesIO()
    smooth.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(draw: ImageDraw.ImageDraw, shape: Box | Curve | Words) -> None:
    style = STYLES[shape.role]
    if isinstance(shape, Box):
        corners = (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)
        draw.rectangle([value * _FINE for value in corners], fill=style.colour)
    elif isinstance(shape, Curve):
        width = max(1, round(style.width * _FINE))
        fine = [(x * _FINE, y * _FINE) for x, y in shape.points]
        pieces = _dashes(fine, [length * _FINE for length in style.dash]) if style.dash else iter([fine])
        for piece in pieces:
            draw.line(piece, fill=style.colour, width=width, joint="curve")
    else:
        from PIL import ImageFont  # noqa: PLC0415  an optional extra

        font = ImageFont.load_default(style.size * _FINE)
        stroke = _FINE // 4 if style.bold else 0
        place = (shape.x * _FINE, shape.y * _FINE)
        draw.text(place, shape.text, fill=style.colour, font=font, anchor=_ANCHORS[shape.anchor], stroke_width=stroke)


def _dashes(points: Sequence[Point], lengths: Sequence[float]) -> Iterator[list[Point]]:
    """Cut a line into dashes; the pattern goes on around corners."""
    at, left = 0, lengths[0]
    for (x, y), (next_x, next_y) in pairwise(points):
        whole = hypot(next_x - x, next_y - y)
        done = 0.0
        while whole - done > 1e-9:
            length = min(left, whole - done)
            begin, end = done / whole, (done + length) / whole
            if at == 0:
                yield [(x + part * (next_x - x), y + part * (next_y - y)) for part in (begin, end)]
            done, left = done + length, left - length
            if left <= 1e-9:
                at = 1 - at
                left = lengths[at]

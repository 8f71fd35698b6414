"""A figure as SVG. Needs no library: rectangles, lines and text are a line of XML each."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from sternway.drawing.figure import Box, Curve, Figure, Words
from sternway.drawing.style import STYLES, Style

FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def svg(figure: Figure) -> str:
    """Write the file."""
    size = f'width="{figure.width:g}" height="{figure.height:g}" viewBox="0 0 {figure.width:g} {figure.height:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{escape(FONT)}">',
        f"<title>{escape(figure.title)}</title>",
        f"<desc>{escape(figure.description)}</desc>",
        f'<rect width="{figure.width:g}" height="{figure.height:g}" fill="#ffffff"/>',
    ]
    for panel in figure.panels:
        parts.append(f'<g class="panel" data-about={quoteattr(panel.about)}>')
        parts += [_shape(shape) for shape in panel.shapes]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _shape(shape: Box | Curve | Words) -> str:
    style = STYLES[shape.role]
    if isinstance(shape, Box):
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}"'
        return f'<rect class="{shape.role}" {place} fill="{style.colour}"/>'
    if isinstance(shape, Curve):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return f'<polyline class="{shape.role}" points="{points}" fill="none" {_line(style)}/>'
    weight = ' font-weight="600"' if style.bold else ""
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{style.size:g}" fill="{style.colour}"{weight}{anchor}'
    return f'<text class="{shape.role}" {place}>{escape(shape.text)}</text>'


def _line(style: Style) -> str:
    dash = f' stroke-dasharray="{style.dash[0]:g} {style.dash[1]:g}"' if style.dash else ""
    return f'stroke="{style.colour}" stroke-width="{style.width:g}" stroke-linejoin="round"{dash}'

"""How each role of a shape looks, in every kind of file. Used by `svg` and `png`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """colour: `#rrggbb`, of a line, a filling or a text. width: of a line. dash: lengths of dash and gap, or none."""

    colour: str
    width: float = 1.0
    dash: tuple[float, float] | None = None
    size: float = 11.0
    bold: bool = False


STYLES = {
    "ground": Style(colour="#f7f8fa"),
    "withdrawn": Style(colour="#fdeec2"),
    "taken-back": Style(colour="#f8d7d4"),
    "share": Style(colour="#4c78a8"),
    "grid": Style(colour="#dfe3e8", width=0.7),
    "tick": Style(colour="#8a929c"),
    "suspicion": Style(colour="#c77700", width=1.2, dash=(6, 4)),
    "condemnation": Style(colour="#c0392b", width=1.4, dash=(9, 4)),
    "exposure": Style(colour="#c77700", width=1.2),
    "evidence": Style(colour="#8e2a1f", width=2.2),
    "title": Style(colour="#1d2530", size=16, bold=True),
    "heading": Style(colour="#1d2530", size=12, bold=True),
    "note": Style(colour="#5d6672"),
    "scale": Style(colour="#5d6672", size=10),
}

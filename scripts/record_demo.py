"""Draw docs/assets/demo.svg from a real run of the demo: its live view at one moment, and the table at its end.

Run by hand when what the demo shows has changed: `.venv/bin/python scripts/record_demo.py [--file FILE]`
"""

# ruff: noqa: INP001  a script, in no package
from __future__ import annotations

import argparse
import asyncio
import html
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.rule import Rule

from sternway.control.status import PlatformStatus
from sternway.demo.run import RATE_PER_S, Demo, Ended
from sternway.demo.scenarios import SCENARIOS

COLUMNS = 116
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
"""The reader's own: a picture on a page may load nothing."""
TARGET = Path(__file__).parent.parent / "docs" / "assets" / "demo.svg"

_SPACE = "&#160;"
_TEXT = re.compile(
    r'(?P<head><text class="[^"]*") x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<width>[\d.]+)"(?P<tail>[^>]*)>'
    r"(?P<words>[^<\n]*[^<\s][^<\n]*)</text>"
)


class Recorded(Demo):
    """The demo on a terminal that nobody looks at; keeps the moment at which the most was to be seen."""

    def __init__(self) -> None:
        super().__init__(SCENARIOS, fast=True, rate_per_s=RATE_PER_S, output="text")
        self._out = Console(file=io.StringIO(), width=COLUMNS, height=60, force_terminal=True, highlight=False)
        self._moment: RenderableType = ""
        self._most = 0
        self.picture = Console(file=io.StringIO(), width=COLUMNS, force_terminal=True, highlight=False, record=True)

    def _picture(self) -> RenderableType:
        shown = super()._picture()
        seen = busy(self._status) if self._status else 0
        if seen > self._most:
            self._moment, self._most = shown, seen
        return shown

    def _report(self, ended: Sequence[Ended]) -> None:
        self.picture.print(self._moment)
        self.picture.print(Rule("at the end", style="dim"))
        self._out = self.picture
        super()._report(ended)


def busy(status: PlatformStatus) -> int:
    """How much there is to see: candidates with traffic count, and traffic that was taken away on suspicion more."""
    releases = [service.release for service in status.services if service.release]
    exposed = sum(1 for release in releases if release.percent > 0 and release.outcome == "under way")
    withdrawn = sum(1 for release in releases if release.phase == "withdrawn")
    back = sum(1 for release in releases if release.outcome == "rolled back")
    return 2 * exposed + 3 * withdrawn + back


def main() -> int:
    """Run the demo, draw what it showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--file", type=Path, default=TARGET, help="where to write it (default: %(default)s)")
    options = parser.parse_args()
    demo = Recorded()
    code = asyncio.run(demo.run())
    if code != 0:
        sys.stderr.write("the run did not end as it should; nothing was drawn\n")
        sys.stderr.write(demo.picture.export_text())
        return code
    options.file.write_text(drawn(demo.picture))
    return 0


def drawn(picture: Console) -> str:
    """Give the SVG, without fonts from elsewhere."""
    svg = picture.export_svg(title="sternway demo --fast")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)
    svg = _TEXT.sub(_without_padding, svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def _without_padding(text: re.Match[str]) -> str:
    """Move a text to where its first letter stands: some viewers drop spaces at the start, and shift the column."""
    words = text["words"]
    whole = words.replace(_SPACE, " ")
    column = float(text["width"]) / len(html.unescape(whole))
    inner = whole.strip(" ").replace(" ", _SPACE)
    left = float(text["x"]) + column * (len(whole) - len(whole.lstrip(" ")))
    width = column * len(html.unescape(inner))
    return f'{text["head"]} x="{left:.1f}" y="{text["y"]}" textLength="{width:.1f}"{text["tail"]}>{inner}</text>'


if __name__ == "__main__":
    sys.exit(main())

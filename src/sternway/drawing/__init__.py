"""Pictures of evidence over time: in the terminal, as SVG, as PNG. Used by the command line.

Rule: pure. A trail goes in, lines of text or a file's bytes come out. The layout (`figure`) is made once for both kinds of
file; SVG needs no library, PNG the optional extra `png` (docs/adr/0012-drawing.md).
"""

from sternway.drawing.figure import figure
from sternway.drawing.png import png
from sternway.drawing.svg import svg
from sternway.drawing.terminal import lines

__all__ = ["figure", "lines", "png", "svg"]

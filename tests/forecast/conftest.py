"""The small world of `tests/spec` is used here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "spec"))

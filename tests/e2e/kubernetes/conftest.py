"""What the story in a cluster shares with others: the APIs, monitoring, the load, and the pages of the docs."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[2]
for _place in ("contract/kubernetes", "e2e", "traffic", "docs"):
    sys.path.append(str(_TESTS / _place))

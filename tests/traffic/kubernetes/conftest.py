"""The real API for the tests of the router: the same as for the contract of the API."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "contract" / "kubernetes"))

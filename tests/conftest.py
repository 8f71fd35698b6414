"""Hypothesis draws the same examples each time, so that a change fails by what it changes.

`make test ARGS="tests/spec/test_invariants.py --hypothesis-profile explore"` draws new ones.

No platform starts a Prometheus and an Alertmanager of its own, but in tests of just that: each would take a tenth of a core.
"""

import os

from hypothesis import settings

from free_ports import keep_apart

keep_apart()
os.environ |= {"STERNWAY_PROMETHEUS": "", "STERNWAY_ALERTMANAGER": ""}

settings.register_profile("the same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("the same")

"""Hypothesis draws the same examples each time, so that a change fails by what it changes.

`make test ARGS="tests/spec/test_invariants.py --hypothesis-profile explore"` draws new ones.
"""

from hypothesis import settings

settings.register_profile("the same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("the same")

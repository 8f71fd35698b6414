"""The decision engine: pure. `step.py` is the way in; `transitions.py` is the state machine as data.

Rule: nothing here reads a clock, a socket or a file; a pass is a function of the progress and one observation.
"""

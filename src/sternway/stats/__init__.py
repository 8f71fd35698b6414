"""Anytime-valid statistics: mathematics that knows no word of ours, called by `sternway.judgement`.

Rule: pure functions over numbers and tuples of numbers; no clock, no randomness, no I/O. An e-process is kept as
the logarithms of its parts ("wealth"), all finite, so that it can be stored as plain JSON and read back equal.
"""

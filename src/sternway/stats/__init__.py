"""Anytime-valid statistics: mathematics that knows no word of ours, called by `sternway.judgement`.

Rule: pure functions over arrays of numbers; no clock, no randomness, no I/O. Leading axes are free, so that one call
serves one release or ten thousand. An e-process is kept as its parts ("wealth"), plain finite numbers.

Only additions, multiplications, divisions and exact scaling by powers of two are used, each of which IEEE 754 defines
to the last bit: the same counts give the same bits on every machine, in every batch. `exact` has what else is needed.
"""

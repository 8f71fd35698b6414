"""Our values: frozen, slotted, keyword-only, valid once built.

Rule: this package imports the standard library alone. Units stand in the names
(`_s` seconds, `_ms` milliseconds, `_percent` 0..100, `_ppm` parts per million).
Every value here can be written to the journal and read back equal.
"""

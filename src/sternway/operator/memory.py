"""Garbage collection in a process that knows a whole cluster. Used by `sternway operator`."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave what is known by now out of every further collection.

    With 1,000 Guards a full one stops the process for half a second and more, again and again, and finds next to nothing:
    objects of the API hold no cycles. What is replaced is freed all the same, by its count of references.
    """
    gc.collect()
    gc.freeze()

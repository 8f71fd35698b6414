"""Ctrl-C before anything has begun. Used by the package's `main`, `sternway up` and `sternway demo`.

Python raises KeyboardInterrupt wherever it happens to be. In the middle of an import, code of other people makes another
error of it, or swallows it, so that a platform would start although its user has said stop.
"""

import contextlib
import os
import signal
from collections.abc import Iterator

INTERRUPTED = 130


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """End the process at Ctrl-C, without a word; what installs a handler of its own inside takes it from here."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""Two Sternways on one directory: the second is told who holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sternway.errors import Refused, StoreUnavailable
from sternway.store import StateLock

HOLDER = """
import sys, time
from pathlib import Path
from sternway.store import StateLock
lock = StateLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_second_process_is_refused_and_told_the_first(tmp_path: Path) -> None:
    """The error names the other's pid; when that one is killed, the directory is free at once."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Refused, match=f"process {first.pid}") as error:
            StateLock(tmp_path).acquire()
        first.send_signal(signal.SIGKILL)

    assert str(first.pid) in error.value.hint
    with StateLock(tmp_path):
        assert (tmp_path / "sternway.lock").read_text() == f"{os.getpid()}\n"


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    """Stop and start leaves nothing behind, also in a folder that did not exist."""
    folder = tmp_path / "new"
    with StateLock(folder), pytest.raises(Refused):
        StateLock(folder).acquire()

    with StateLock(folder):
        pass


def test_a_state_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in the way is an error with a hint."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable) as error:
        StateLock(tmp_path / "file" / "state").acquire()

    assert error.value.hint

"""Fixtures: a running platform beside the command line, and a command line that runs in this process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))  # the fake platform and the sample views stand there

from running_platform import Served

from sternway.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder for a platform, with a run folder whose name is short enough for sockets."""
    monkeypatch.delenv("STERNWAY_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    """Give a platform that runs for the folder, on which orders 1.0.0 serves."""
    running = Served(folder)
    yield running
    running.close()


@pytest.fixture
def sternway(folder: Path) -> Run:
    """Give the command line, for the folder."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["-C", str(folder), *arguments])

    return run

"""A machine with a user of Git, and the revert of a release."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from git_world import World

from sternway.domain.releases import Revert


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Make a machine whose user has a name in Git and nothing else set."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    for variable in [name for name in os.environ if name.startswith(("GIT_", "XDG_CONFIG"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return World(tmp_path)


@pytest.fixture
def revert() -> Callable[..., Revert]:
    """Make the revert of a release of the service orders."""

    def make(bad: str, restore: str, *documents: tuple[str, str, str], release: str = "orders-17") -> Revert:
        return Revert(
            release=release,
            service="orders",
            bad=bad,
            restore=restore,
            documents=documents or (("shop.yaml", "Deployment", "orders"),),
            subject="Roll back orders to 1.0.0",
            body="5 of 40 answers were errors.\n# not a comment",
            trailers=(("Sternway-Release", release), ("Sternway-Evidence", "e-value 120\nto one")),
        )

    return make

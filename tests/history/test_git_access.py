"""Which credentials of the Secret `sternway-git` are for which repository, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sternway.errors import InvalidInput, Refused
from sternway.history.access import GitAccess
from sternway.history.source import parse

LINES = """
# the whole host, one group, one repository
https://bot:t-host@git.example.org/
https://bot:t-shop@git.example.org/shop
https://bot:t%2Forders@git.example.org/shop/orders.git
https://bot:t-other@git.example.org:8443/shop
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder that the Secret is seen in."""
    (tmp_path / "credentials").write_text(LINES)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("https://git.example.org/else/app.git", "t-host"),
        ("https://git.example.org/shop/stock", "t-shop"),
        ("https://git.example.org/shop/orders", "t/orders"),
        ("https://git.example.org/shopping/orders", "t-host"),
        ("https://git.example.org:8443/shop/orders.git", "t-other"),
        ("https://someone@GIT.example.org/shop/stock", "t-shop"),
    ],
)
def test_the_longest_place_that_fits_counts(folder: Path, url: str, password: str) -> None:
    """By host, port and whole parts of the path; a user in the address is no matter."""
    way = GitAccess(folder).way(url)
    source = parse(way.source)
    assert (source.user, source.password) == ("bot", password)
    assert password not in source.url
    assert password not in repr(way)
    assert password not in repr(source)


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example.org/shop", "https://git.example.org:9443/shop", "ssh://git@h/x"]
)
def test_without_credentials_the_way_out_is_said(folder: Path, url: str) -> None:
    """The error names the repository, the Secret, and the key to put there."""
    with pytest.raises(Refused, match="no access to") as caught:
        GitAccess(folder).way(url)
    assert "Secret sternway-git in Sternway's namespace" in caught.value.hint
    with pytest.raises(Refused):
        GitAccess(None).way(url)


def test_a_line_that_is_no_address_is_named_and_not_shown(folder: Path) -> None:
    """A token that was pasted alone appears in no error."""
    (folder / "credentials").write_text("https://bot:t@git.example.org/\nghp_s3cret\n")
    with pytest.raises(InvalidInput) as caught:
        GitAccess(folder).way("https://git.example.org/shop")
    assert "credentials:2" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_ssh_uses_the_key_and_knows_the_server(folder: Path) -> None:
    """Nobody's other keys and no unknown server: both files are needed."""
    (folder / "identity").write_text("a key")
    with pytest.raises(Refused, match="no access"):
        GitAccess(folder).way("git@git.example.org:shop/orders.git")
    (folder / "known_hosts").write_text("git.example.org ssh-ed25519 AAAA")
    way = GitAccess(folder).way("git@git.example.org:shop/orders.git")
    (variable,) = way.environment
    assert variable[0] == "GIT_SSH_COMMAND"
    assert f"-i {folder}/identity" in variable[1]
    assert f"UserKnownHostsFile={folder}/known_hosts" in variable[1]
    assert "StrictHostKeyChecking=yes" in variable[1]


def test_authorities_of_ones_own_are_trusted(folder: Path) -> None:
    """With ca.crt in the Secret, https servers are checked by it."""
    assert not GitAccess(folder).way("https://git.example.org/shop").environment
    (folder / "ca.crt").write_text("a certificate")
    way = GitAccess(folder).way("https://git.example.org/shop")
    assert dict(way.environment) == {"GIT_SSL_CAINFO": str(folder / "ca.crt")}

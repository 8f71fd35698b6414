"""Smart HTTP with a password, against Git's own server program; the password is in no output of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from git_world import SHOP, Repository, World

from sternway.domain.releases import Mark
from sternway.errors import HistoryUnavailable
from sternway.testing.git_server import GitServer

TOKEN = "t0ken/with%odd:signs"
WRITTEN = "t0ken%2Fwith%25odd%3Asigns"


@pytest.fixture
def server(world: World) -> Iterator[tuple[Repository, str]]:
    """Serve a repository that takes pushes; gives the work tree behind it and host:port."""
    shop = world.repository()
    shop.commit({"shop.yaml": SHOP}, "Good")
    bare = world.server(shop)
    subprocess.run(["git", "config", "http.receivepack", "true"], cwd=bare, check=True)
    with GitServer(world.folder, password=TOKEN) as http:
        yield shop, http.host


async def test_a_password_in_the_address_reads_and_writes(world: World, server, revert) -> None:
    """Reading, reverting and marking work through Basic auth, and nothing of ours keeps the password."""
    shop, host = server
    good, bad = shop.head(), shop.commit({"shop.yaml": SHOP.replace("orders:1.0.0", "orders:1.1.0")}, "Bad")
    shop.git("push", "-q")
    history = await world.opened(f"http://ada:{WRITTEN}@{host}/server.git")
    assert (await history.head()).commit == bad
    done = await history.revert(revert(bad, good))
    shop.git("fetch", "-q")
    assert shop.head("origin/main") == done.commit
    assert shop.read("shop.yaml", "origin/main") == SHOP
    kept = Mark(service="orders", version="1", commit=bad, verdict="bad", release="orders-1", why="", at_s=1.0)
    await history.mark([kept])
    assert await history.ledger() == (kept,)
    files = [file.read_bytes() for file in (world.folder / "state").rglob("*") if file.is_file()]
    assert files
    assert not any(TOKEN.encode() in content or WRITTEN.encode() in content for content in files)


async def test_the_password_is_in_no_argument_list(world: World, server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither git nor its helpers get the password where every user of the machine could read it."""
    _, host = server
    trace = world.folder / "trace"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    await world.opened(f"http://ada:{WRITTEN}@{host}/server.git")
    text = trace.read_text()
    assert "remote-http" in text
    assert TOKEN not in text
    assert WRITTEN not in text


@pytest.mark.parametrize("user", ["ada:wr0ng%2Fsecret@", "", "wr0ng%2Fsecret@"])
async def test_a_wrong_or_missing_password_is_reported_without_it(world: World, server, user: str) -> None:
    """Git never prompts; the message says what to check and does not show what was tried."""
    _, host = server
    with pytest.raises(HistoryUnavailable, match="has no valid credentials") as caught:
        await world.opened(f"http://{user}{host}/server.git")
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(caught.value.__context__)


async def test_the_users_own_credential_helper_is_asked(world: World, server) -> None:
    """An address without a password works where the user's Git knows one."""
    shop, host = server
    (world.folder / "stored").write_text(f"http://ada:{WRITTEN}@{host}\n")
    shop.git("config", "--global", "credential.helper", f"store --file={world.folder}/stored")
    history = await world.opened(f"http://{host}/server.git")
    assert (await history.head()).commit == shop.head()

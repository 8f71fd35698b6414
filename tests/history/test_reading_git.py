"""What is read from Git: heads, earlier commits, and what a person is told when something is wrong."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import pytest
from git_world import SHOP, Repository, World, manifest, over_ssh, stop, until

from sternway.errors import HistoryUnavailable, InvalidInput, Refused
from sternway.history.source import parse, redact


async def test_the_head_holds_every_yaml_file_of_the_watched_folder(world: World) -> None:
    """Files are named from the watched folder; other files, other folders and links are left out."""
    shop = world.repository()
    shop.write(
        {"deploy/a.yaml": "a: é\r\n", "deploy/sub/b.yml": "\ufeffb: 1", "deploy/c.txt": "c", "other/d.yaml": "d: 1"}
    )
    (shop.folder / "deploy/link.yaml").symlink_to("a.yaml")
    shop.git("add", ".")
    shop.git("commit", "-qm", "First: état")
    history = await world.opened(shop.folder, path="./deploy/")
    head = await history.head()
    assert dict(head.files) == {"a.yaml": "a: é\r\n", "sub/b.yml": "\ufeffb: 1"}
    assert (head.commit, head.subject, head.author) == (shop.head(), "First: état", "Ada")
    assert history.branch == "main"
    assert head.at_s > 1_600_000_000


async def test_a_subfolder_of_a_work_tree_is_a_source(world: World) -> None:
    """`sternway up repo/deploy/shop` watches that folder of the repository around it."""
    shop = world.repository()
    shop.commit({"deploy/shop/a.yaml": "a: 1\n", "deploy/b.yaml": "b: 1\n"})
    history = await world.opened(shop.folder / "deploy", path="shop")
    assert dict((await history.head()).files) == {"a.yaml": "a: 1\n"}


@pytest.mark.parametrize("address", ["{bare}", "file://{bare}", "file://localhost{bare}"])
async def test_a_bare_repository_is_a_source(world: World, address: str) -> None:
    """A folder and a file:// address mean the same."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    bare = world.server(shop)
    history = await world.opened(address.format(bare=bare))
    assert dict((await history.head()).files) == {"a.yaml": "a: 1\n"}


async def test_a_linked_work_tree_is_a_source(world: World) -> None:
    """The branch of a `git worktree` is watched through the repository that it belongs to."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    shop.git("worktree", "add", "-q", "-b", "next", "../linked")
    history = await world.opened(world.folder / "linked")
    assert history.branch == "next"
    Repository(world.folder / "linked").commit({"a.yaml": "a: 2\n"})
    assert dict((await history.head()).files) == {"a.yaml": "a: 2\n"}


async def test_a_repository_with_sha256_ids_is_read(world: World) -> None:
    """The mirror takes the kind of ids that the source has."""
    shop = world.repository("long", "--object-format=sha256")
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    assert len((await history.head()).commit) == 64
    assert len(await history.commit({"a.yaml": "a: 2\n"}, "Set a")) == 64


async def test_an_earlier_commit_is_read_as_it_was(world: World) -> None:
    """`at` takes full and short ids."""
    shop = world.repository()
    first = shop.commit({"a.yaml": "a: 1\n"})
    shop.commit({"a.yaml": "a: 2\n"})
    history = await world.opened(shop.folder)
    assert dict((await history.at(first)).files) == {"a.yaml": "a: 1\n"}
    assert (await history.at(first[:10])).commit == first


@pytest.mark.parametrize("name", ["f" * 40, "main", "--output=x", "abc"])
async def test_what_is_no_commit_of_the_repository_is_refused(world: World, name: str) -> None:
    """Nothing but ids goes to git; an unknown one is named."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    with pytest.raises(Refused, match="commit"):
        await history.at(name)


async def test_a_file_that_is_not_utf8_is_named_with_its_line(world: World) -> None:
    """Text is never guessed."""
    shop = world.repository()
    shop.write({"a.yaml": ""})
    (shop.folder / "a.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    shop.git("add", ".")
    shop.git("commit", "-qm", "Latin")
    history = await world.opened(shop.folder)
    with pytest.raises(InvalidInput, match=r"a\.yaml:2: this is not UTF-8"):
        await history.head()


async def test_a_commit_in_the_work_tree_wakes_the_loop(world: World) -> None:
    """The watch sees the branch move, and `head` gives the new state."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    watch = asyncio.create_task(history.watch())
    await asyncio.sleep(0.3)
    assert world.woken == []
    shop.commit({"a.yaml": "a: 2\n"})
    await until(lambda: bool(world.woken))
    assert dict((await history.head()).files) == {"a.yaml": "a: 2\n"}
    await stop(watch)


async def test_a_head_read_before_the_watch_looks_does_not_swallow_the_wake(world: World) -> None:
    """Somebody who reads the head first must not keep the loop from being woken."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    watch = asyncio.create_task(history.watch())
    await asyncio.sleep(0)
    shop.commit({"a.yaml": "a: 2\n"})
    await history.head()
    await until(lambda: bool(world.woken))
    await stop(watch)


async def test_packed_refs_are_watched_too(world: World) -> None:
    """`git gc` and `git pack-refs` move refs into one file; later commits are still seen."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    shop.git("pack-refs", "--all")
    history = await world.opened(shop.folder)
    shop.commit({"a.yaml": "a: 2\n"})
    shop.git("pack-refs", "--all")
    assert dict((await history.head()).files) == {"a.yaml": "a: 2\n"}


async def test_watching_a_folder_starts_no_process_while_nothing_changes(world: World) -> None:
    """Idle costs a few stat calls: no git runs, and next to nothing of a core is used."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    watch = asyncio.create_task(history.watch())
    await asyncio.sleep(0.1)
    children, spent = resource.getrusage(resource.RUSAGE_CHILDREN), []
    for _ in range(3):  # the least of it is ours: a collection of the garbage of other tests is not
        before = time.process_time()
        await asyncio.sleep(1)
        spent.append(time.process_time() - before)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime == children.ru_utime
    assert min(spent) < 0.1
    await stop(watch)


async def test_a_rewritten_branch_is_followed_and_its_old_head_stays_readable(world: World) -> None:
    """A forced push loses nothing: the old head is kept alive in the mirror, even against a clean-up."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 0\n"})
    old = shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    shop.write({"a.yaml": "a: 2\n"})
    shop.git("commit", "-qa", "--amend", "-m", "Other")
    assert dict((await history.head()).files) == {"a.yaml": "a: 2\n"}
    assert [(rewrite.old, rewrite.new) for rewrite in history.rewrites] == [(old, shop.head())]
    Repository(history._mirror.folder).git("gc", "-q", "--prune=now")
    shop.git("reflog", "expire", "--expire=now", "--all")
    shop.git("gc", "-q", "--prune=now")
    again = await world.opened(shop.folder)
    assert dict((await again.at(old)).files) == {"a.yaml": "a: 1\n"}


async def test_an_ordinary_new_commit_is_no_rewrite(world: World) -> None:
    """Only a head that is no descendant of the last one counts."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    shop.commit({"a.yaml": "a: 2\n"})
    await history.head()
    assert history.rewrites == ()


async def test_a_damaged_mirror_is_made_anew(world: World) -> None:
    """A mirror with broken refs is put aside; nothing in it is needed to go on."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    history = await world.opened(shop.folder)
    mirror = history._mirror.folder
    for pack in [*mirror.rglob("objects/*/*")]:
        pack.chmod(0o600)
        pack.write_bytes(b"")
    again = await world.opened(shop.folder)
    assert dict((await again.head()).files) == {"a.yaml": "a: 1\n"}
    assert mirror.with_suffix(".damaged").exists()


def _unborn(world: World) -> str:
    return str(world.repository().folder)


def _detached(world: World) -> str:
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    shop.git("switch", "-q", "--detach")
    return str(shop.folder)


def _committed(world: World) -> str:
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    return str(shop.folder)


def _plain(world: World) -> str:
    (world.folder / "plain").mkdir()
    return str(world.folder / "plain")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        pytest.param(_plain, {}, r"in no Git repository .*git init && git add \. && git commit", id="no repository"),
        pytest.param(lambda w: f"{w.folder}/absent", {}, "there is no such folder", id="no folder"),
        pytest.param(_unborn, {}, r"no commit yet \(run git add", id="unborn branch"),
        pytest.param(_detached, {}, r"detached HEAD.*run git switch", id="detached head"),
        pytest.param(_committed, {"branch": "prod"}, r"no branch prod \(its branches are main\)", id="no such branch"),
        pytest.param(
            _committed, {"path": "deploy"}, r"holds no folder deploy \(check the path", id="no such folder in Git"
        ),
        pytest.param(_committed, {"path": "../x"}, "leaves the repository", id="path outside"),
        pytest.param(lambda w: _committed(w) + "/.git", {}, "the folder that holds .git", id="inside of .git"),
        pytest.param(lambda _: "ext::sh -c id", {}, "no place of a Git repository", id="remote helper"),
        pytest.param(lambda _: "--upload-pack=id", {}, "no place of a Git repository", id="option"),
        pytest.param(lambda _: "git://example.org/x", {}, "git:// is not supported", id="unsafe scheme"),
        pytest.param(lambda _: "http://example.org/x", {}, "use https://", id="plain http"),
        pytest.param(lambda _: "ssh://-oProxyCommand=id/x", {}, "has no host", id="option as host"),
    ],
)
async def test_a_source_that_cannot_be_watched_says_what_to_do(world: World, make, options, message) -> None:
    """Each mistake has its own message with the way out."""
    with pytest.raises(InvalidInput, match=message):
        await world.opened(make(world), **options)


async def test_a_detached_head_is_fine_when_the_branch_is_named(world: World) -> None:
    """What is checked out does not matter then."""
    history = await world.opened(_detached(world), branch="main")
    assert dict((await history.head()).files) == {"a.yaml": "a: 1\n"}


async def test_without_a_server_an_earlier_mirror_still_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart while Git is down goes on with the state seen last and says what is wrong."""
    shop = world.repository()
    first = shop.commit({"a.yaml": SHOP})
    over_ssh(world, monkeypatch)
    address = f"somebody@host.invalid:{world.server(shop)}"
    await world.opened(address)
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    history = await world.opened(address)
    watch = asyncio.create_task(history.watch())
    await asyncio.sleep(0)
    assert (await history.head()).commit == first
    assert "did not answer" in history.trouble
    with pytest.raises(HistoryUnavailable) as caught:
        await history.commit({"a.yaml": "a: 2\n"}, "Set a")
    assert caught.value.retry_in_s > 0
    await stop(watch)


async def test_a_server_that_never_answered_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to go on with."""
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    with pytest.raises(HistoryUnavailable, match=r"ssh://host\.invalid/x did not answer"):
        await world.opened("ssh://host.invalid/x")


@pytest.mark.parametrize("address", ["ssh://ada@host.invalid{bare}", "host.invalid:{bare}"])
async def test_a_branch_behind_ssh_is_followed_and_written(
    world: World, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Both ways to write an ssh address work; a push from elsewhere wakes."""
    shop = world.repository()
    shop.commit({"a.yaml": "a: 1\n"})
    over_ssh(world, monkeypatch)
    history = await world.opened(address.format(bare=world.server(shop)), poll_s=0.1)
    assert history.branch == "main"
    watch = asyncio.create_task(history.watch())
    await asyncio.sleep(0)
    shop.commit({"a.yaml": "a: 2\n"})
    shop.git("push", "-q")
    await until(lambda: bool(world.woken))
    assert dict((await history.head()).files) == {"a.yaml": "a: 2\n"}
    await history.commit({"a.yaml": "a: 3\n"}, "Set a")
    await stop(watch)
    shop.git("pull", "-q")
    assert (shop.read("a.yaml"), shop.log()[0]) == ("a: 3\n", "Set a")


def test_passwords_in_addresses_are_hidden() -> None:
    """Neither messages nor the parsed source show what stands before the @."""
    source = parse("https://ada:s3cret@example.org:8443/shop.git")
    assert (source.url, source.user, source.password) == ("https://example.org:8443/shop.git", "ada", "s3cret")
    assert "s3cret" not in f"{source!r} {source}"
    assert redact("see https://tok@h/x and ssh://a:b@h/y") == "see https://***@h/x and ssh://***@h/y"


def test_a_folder_with_a_colon_is_a_folder(tmp_path: Path) -> None:
    """What exists here is no ssh address."""
    (tmp_path / "a:b").mkdir()
    assert parse(str(tmp_path / "a:b")).folder == (tmp_path / "a:b").resolve()


def test_the_example_manifest_has_two_documents() -> None:
    """The shop used by these tests is what they think it is."""
    assert SHOP.count("---\n") == 1
    assert manifest("Deployment", "orders", "orders:1.0.0") in SHOP

"""The revert of a failed release: exactly its documents, on top of whatever others did, never by force."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import psutil
import pytest
from git_world import SHOP, Repository, World, manifest, over_ssh, until

from sternway.errors import HistoryUnavailable, Refused
from sternway.history.git import GitHistory

ORDERS = ("shop.yaml", "Deployment", "orders")
BAD = SHOP.replace("orders:1.0.0", "orders:1.1.0")


@pytest.fixture(params=["work tree", "bare", "ssh", "branch not checked out"])
async def place(request, world: World, monkeypatch: pytest.MonkeyPatch):
    """Make a user's repository, a source of every kind, after a good and a bad commit."""
    shop = world.repository()
    good = shop.commit({"shop.yaml": SHOP}, "Good")
    bad = shop.commit({"shop.yaml": BAD}, "Bad")
    source = str(shop.folder)
    if request.param in ("bare", "ssh"):
        source = str(world.server(shop))
    if request.param == "ssh":
        over_ssh(world, monkeypatch)
        source = f"host.invalid:{source}"
    if request.param == "branch not checked out":
        shop.git("switch", "-q", "-c", "work")
    return Place(shop, await world.opened(source, branch="main"), good, bad)


class Place:
    """A repository, its history, and its good and bad commit."""

    def __init__(self, shop: Repository, history: GitHistory, good: str, bad: str) -> None:
        self.shop, self.history, self.good, self.bad = shop, history, good, bad

    def commit(self, files: dict[str, str | None], message: str = "Other") -> str:
        """Commit as another person, to the watched branch."""
        current = self.shop.git("branch", "--show-current")
        self.shop.git("switch", "-q", "main")
        made = self.shop.commit(files, message)
        if self.shop.git("remote"):
            self.shop.git("push", "-q")
        self.shop.git("switch", "-q", current)
        return made

    def main(self) -> str:
        """Name the watched branch as the user sees it now."""
        if self.shop.git("remote"):
            self.shop.git("fetch", "-q")
            return "origin/main"
        return "main"


async def test_a_revert_gives_the_text_back_and_says_why(place: Place, revert) -> None:
    """The commit restores the file byte for byte, and its trailers name release and evidence."""
    done = await place.history.revert(revert(place.bad, place.good))
    main = place.main()
    assert place.shop.read("shop.yaml", main) == SHOP
    assert (done.commit, done.branch) == (place.shop.head(main), None)
    assert place.shop.log(main) == ["Roll back orders to 1.0.0", "Bad", "Good"]
    body = place.shop.git("log", "-1", "--format=%B", main)
    assert "5 of 40 answers were errors.\n# not a comment" in body
    trailers = place.shop.git("log", "-1", "--format=%(trailers)", main)
    assert trailers.strip() == "Sternway-Release: orders-17\nSternway-Evidence: e-value 120 to one"
    who = place.shop.git("log", "-1", "--format=%an <%ae> %cn <%ce>", main)
    assert who == "Sternway <sternway@localhost> Ada <ada@example.org>"
    assert (await place.history.head()).commit == done.commit


async def test_a_second_revert_of_a_release_finds_the_first(place: Place, revert) -> None:
    """A retry after a crash makes no second commit, not even when the bad state was committed again since."""
    done = await place.history.revert(revert(place.bad, place.good))
    if place.shop.git("remote"):
        place.shop.git("pull", "-q")
    place.commit({"shop.yaml": BAD}, "Try again")
    again = await place.history.revert(revert(place.bad, place.good))
    assert again.commit == done.commit
    assert place.shop.log(place.main())[0] == "Try again"


async def test_only_the_failed_service_is_restored(place: Place, revert) -> None:
    """Two services changed in one file by one commit; the other one keeps its change and its layout."""
    both = BAD.replace("stock:1.0.0", "stock:2.0.0")
    bad = place.commit({"shop.yaml": both, "README.md": "new"}, "Both")
    await place.history.revert(revert(bad, place.good))
    assert place.shop.read("shop.yaml", place.main()) == SHOP.replace("stock:1.0.0", "stock:2.0.0")
    assert place.shop.read("README.md", place.main()) == "new"


async def test_what_others_did_since_is_kept(place: Place, revert) -> None:
    """Later commits to other files, other documents and other lines of the same document stay."""
    later = BAD.replace("replicas: 2", "replicas: 5").replace("# stock: ask", "# stock: please ask")
    place.commit({"shop.yaml": later, "x.yaml": "x: 1\n"})
    done = await place.history.revert(revert(place.bad, place.good))
    assert done.branch is None
    assert place.shop.read("shop.yaml", place.main()) == later.replace("orders:1.1.0", "orders:1.0.0")
    assert place.shop.read("x.yaml", place.main()) == "x: 1\n"


async def test_a_conflicting_revert_becomes_a_branch_of_its_own(place: Place, revert) -> None:
    """Somebody fixed forward on the same line: the branch is untouched and the message says what to do."""
    head = place.commit({"shop.yaml": BAD.replace("orders:1.1.0", "orders:1.1.1")}, "Fix forward")
    done = await place.history.revert(revert(place.bad, place.good))
    main = place.main()
    assert place.shop.head(main) == head
    assert done.branch == "sternway/rollback-orders-17"
    assert "shop.yaml was changed on main in the same lines" in done.message
    assert "git merge sternway/rollback-orders-17" in done.message
    branch = main.replace("main", done.branch)
    assert place.shop.head(branch) == done.commit
    assert place.shop.read("shop.yaml", branch) == SHOP
    assert place.shop.head(f"{branch}~1") == place.bad
    assert await place.history.revert(revert(place.bad, place.good)) == done


async def test_a_branch_name_that_somebody_else_took_is_left_alone(place: Place, revert) -> None:
    """Nothing is overwritten: the next free name is used."""
    place.commit({"shop.yaml": BAD.replace("orders:1.1.0", "orders:1.1.1")}, "Fix forward")
    place.shop.git("branch", "sternway/rollback-orders-17", place.good)
    if place.shop.git("remote"):
        place.shop.git("push", "-q", "origin", "sternway/rollback-orders-17")
    done = await place.history.revert(revert(place.bad, place.good))
    assert done.branch == "sternway/rollback-orders-17-2"
    assert place.shop.head("sternway/rollback-orders-17") == place.good


async def test_a_branch_that_has_the_good_text_already_gets_no_commit(place: Place, revert) -> None:
    """Somebody was faster by hand."""
    head = place.commit({"shop.yaml": SHOP}, "By hand")
    done = await place.history.revert(revert(place.bad, place.good))
    assert (done.commit, done.branch) == (None, None)
    assert "nothing to restore" in done.message
    assert place.shop.head(place.main()) == head


@pytest.mark.parametrize("place", ["work tree", "bare"], indirect=True)
async def test_twenty_commits_by_two_writers_are_all_there(place: Place, world: World) -> None:
    """Writers that race for one branch compute again instead of overwriting each other."""
    source = place.history._source.url
    other = await world.opened(source, branch="main", state="other")

    async def write(history: GitHistory, name: str) -> None:
        for number in range(10):
            await history.commit({f"{name}.yaml": f"n: {number}\n"}, f"{name} {number}")

    async with asyncio.timeout(100):
        await asyncio.gather(write(place.history, "a"), write(other, "b"))
    subjects = place.shop.log(place.main())
    assert sorted(subjects[:-2]) == sorted(f"{name} {number}" for name in "ab" for number in range(10))
    assert place.shop.read("a.yaml", place.main()) == place.shop.read("b.yaml", place.main()) == "n: 9\n"


async def test_documents_that_the_release_added_go_and_removed_ones_come_back(world: World, revert) -> None:
    """A whole file, a document between others, and a moved document are restored where they were."""
    shop = world.repository()
    before = {
        "shop.yaml": manifest("Deployment", "web", "web:1") + "---\n" + SHOP,
        "config.yaml": "kind: ConfigMap\nmetadata: {name: orders}\ndata: {a: '1'}\n",
    }
    after = {
        "shop.yaml": manifest("Deployment", "web", "web:1") + "---\n" + manifest("Deployment", "stock", "stock:1.0.0"),
        "config.yaml": None,
        "moved/orders.yaml": manifest("Deployment", "orders", "orders:1.1.0"),
        "mixed.yaml": "kind: A\nmetadata: {name: other}\n---\nkind: Secret\nmetadata: {name: orders}\n",
    }
    good, bad = shop.commit(before, "Good"), shop.commit(after, "Bad")
    history = await world.opened(shop.folder)
    documents = (
        ORDERS,
        ("config.yaml", "ConfigMap", "orders"),
        ("moved/orders.yaml", "Deployment", "orders"),
        ("mixed.yaml", "Secret", "orders"),
    )
    await history.revert(revert(bad, good, *documents))
    files = dict((await history.head()).files)
    assert files == before | {"mixed.yaml": "kind: A\nmetadata: {name: other}\n"}


async def test_line_ends_and_the_mode_of_a_file_are_kept(world: World, revert) -> None:
    """A CRLF file with a byte order mark and without a last line end comes back byte for byte."""
    shop = world.repository()
    good_text = "\ufeff" + SHOP.replace("\n", "\r\n").removesuffix("\r\n")
    shop.write({"shop.yaml": good_text})
    (shop.folder / "shop.yaml").chmod(0o755)
    good = shop.commit({"shop.yaml": good_text}, "Good")
    bad = shop.commit({"shop.yaml": good_text.replace("orders:1.0.0", "orders:1.1.0")}, "Bad")
    history = await world.opened(shop.folder)
    await history.revert(revert(bad, good))
    assert shop.read("shop.yaml") == good_text
    assert shop.git("ls-tree", "HEAD", "shop.yaml").startswith("100755")


async def test_a_file_that_is_broken_now_does_not_block_the_revert(world: World, revert) -> None:
    """Somebody broke another document of the file since: the lines are still restored."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    shop.commit({"shop.yaml": BAD + "---\n{{ broken: [\n"}, "Broken")
    history = await world.opened(shop.folder)
    done = await history.revert(revert(bad, good))
    assert done.branch is None
    assert shop.read("shop.yaml") == SHOP + "---\n{{ broken: [\n"


async def test_unsaved_and_staged_edits_elsewhere_survive(world: World, revert) -> None:
    """A work tree is fast-forwarded around what its user is doing."""
    shop = world.repository()
    good = shop.commit({"shop.yaml": SHOP, "mine.yaml": "m: 1\n", "staged.yaml": "s: 1\n"}, "Good")
    bad = shop.commit({"shop.yaml": BAD}, "Bad")
    shop.write({"mine.yaml": "m: 2\n", "staged.yaml": "s: 2\n", "new.yaml": "n: 1\n"})
    shop.git("add", "staged.yaml")
    history = await world.opened(shop.folder)
    await history.revert(revert(bad, good))
    assert (shop.folder / "shop.yaml").read_text() == SHOP
    assert (shop.folder / "mine.yaml").read_text() == "m: 2\n"
    assert shop.git("status", "--porcelain").splitlines() == [" M mine.yaml".strip(), "M  staged.yaml", "?? new.yaml"]


async def test_unsaved_edits_in_the_way_send_the_revert_to_a_branch(world: World, revert) -> None:
    """The user's edit is untouched, and the message says how to bring the revert in."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    shop.write({"shop.yaml": BAD + "# mine\n"})
    history = await world.opened(shop.folder)
    done = await history.revert(revert(bad, good))
    assert shop.head() == bad
    assert (shop.folder / "shop.yaml").read_text() == BAD + "# mine\n"
    assert done.branch == "sternway/rollback-orders-17"
    assert "not committed" in done.message
    assert "commit or stash them, then run git merge sternway/rollback-orders-17" in done.message
    assert await history.revert(revert(bad, good)) == done
    shop.git("stash", "-q")
    shop.git("merge", "-q", "--ff-only", done.branch)
    assert shop.read("shop.yaml") == SHOP
    assert (await history.revert(revert(bad, good))).commit == done.commit


@pytest.mark.parametrize("under_way", ["merge", "rebase"])
async def test_a_merge_or_rebase_under_way_is_waited_for(world: World, revert, under_way: str) -> None:
    """The branch is not moved under somebody's feet; the revert follows when they are done."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP, "x": "1\n"}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    shop.git("switch", "-q", "-c", "side", good)
    shop.commit({"x": "2\n"}, "Side")
    shop.git("switch", "-q", "main")
    tip = shop.commit({"x": "3\n"}, "Main")
    shop.git(under_way, "side", check=False)
    history = await world.opened(shop.folder, branch="main")
    with pytest.raises(HistoryUnavailable, match=r"a merge is under way|main is being rebased"):
        await history.revert(revert(bad, good))
    assert shop.head("main") == tip
    shop.git(under_way, "--abort")
    assert (await history.revert(revert(bad, good))).commit == shop.head("main")


async def test_hooks_of_the_work_tree_do_not_run(world: World, revert) -> None:
    """Sternway never runs a program that a repository brings along."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    for hook in ("post-merge", "post-checkout", "reference-transaction", "pre-push"):
        executable(shop.folder / ".git/hooks" / hook, f"touch {world.folder}/ran-{hook}\n")
    history = await world.opened(shop.folder)
    assert (await history.revert(revert(bad, good))).commit == shop.head()
    assert list(world.folder.glob("ran-*")) == []


async def test_a_branch_that_moves_during_the_push_is_computed_again(world: World, revert) -> None:
    """The server's branch moves after the commit was made and before it is taken: both commits are there."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    bare = world.server(shop)
    shop.commit({"shop.yaml": BAD.replace("replicas: 2", "replicas: 7")}, "Meanwhile")
    shop.git("push", "-q", "origin", "main:refs/rivals/meanwhile")
    # The hook runs between the server's answer to the push and the update of the branch, as a rival would.
    rival = f"test -e {bare}/done || {{ touch {bare}/done; unset GIT_QUARANTINE_PATH; git update-ref {{}} refs/rivals/meanwhile; }}"
    executable(bare / "hooks/pre-receive", rival.replace("{}", "refs/heads/main") + "\n")
    history = await world.opened(bare)
    done = await history.revert(revert(bad, good))
    shop.git("fetch", "-q")
    assert (bare / "done").exists()
    assert shop.log("origin/main") == ["Roll back orders to 1.0.0", "Meanwhile", "Bad", "Good"]
    assert done.commit == shop.head("origin/main")
    assert shop.read("shop.yaml", "origin/main") == SHOP.replace("replicas: 2", "replicas: 7")


async def test_a_branch_that_never_stands_still_is_given_up_for_now(world: World, revert, monkeypatch) -> None:
    """Retries are bounded, and a later call may succeed."""
    monkeypatch.setattr("sternway.history.publish.ATTEMPTS", 3)
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    bare = world.server(shop)
    move = "git commit-tree -p refs/heads/main -m Rival refs/heads/main^{tree}"
    environment = "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES"
    executable(bare / "hooks/pre-receive", f"{environment}\ngit update-ref refs/heads/main $({move})\n")
    history = await world.opened(bare)
    with pytest.raises(HistoryUnavailable, match="the branch moved 3 times"):
        await history.revert(revert(bad, good))
    (bare / "hooks/pre-receive").unlink()
    assert (await history.revert(revert(bad, good))).commit is not None


async def test_a_protected_branch_gets_the_revert_on_a_branch_beside(world: World, revert) -> None:
    """The server's own words are in the message."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    bare = world.server(shop)
    executable(bare / "hooks/update", 'test "$1" != refs/heads/main || { echo "main is protected" >&2; exit 1; }\n')
    history = await world.opened(bare)
    done = await history.revert(revert(bad, good))
    assert done.branch == "sternway/rollback-orders-17"
    assert "main is protected" in done.message
    shop.git("fetch", "-q")
    assert shop.head("origin/main") == bad
    assert shop.read("shop.yaml", f"origin/{done.branch}") == SHOP
    with pytest.raises(Refused, match="main is protected"):
        await history.commit({"shop.yaml": SHOP}, "Set")


async def test_a_server_that_takes_no_branch_is_quoted_once(world: World, revert) -> None:
    """Neither the branch nor one beside it: both are named, and the server's words are not said twice."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    bare = world.server(shop)
    executable(bare / "hooks/pre-receive", 'echo "read only today" >&2; exit 1\n')
    history = await world.opened(bare)
    with pytest.raises(HistoryUnavailable, match="neither main nor sternway/rollback-orders-17 took") as caught:
        await history.revert(revert(bad, good))
    assert str(caught.value).count("read only today") == 1
    (bare / "hooks/pre-receive").unlink()
    assert (await history.revert(revert(bad, good))).branch is None


async def test_a_repository_that_is_gone_is_reported_and_the_revert_works_later(world: World, revert) -> None:
    """Git being down delays the Git part only, and leaves nothing half done."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    bare = world.server(shop)
    history = await world.opened(bare)
    bare.rename(world.folder / "away")
    with pytest.raises(HistoryUnavailable) as caught:
        await history.revert(revert(bad, good))
    assert caught.value.retry_in_s > 0
    (world.folder / "away").rename(bare)
    assert (await history.revert(revert(bad, good))).commit is not None


async def test_a_revert_after_a_forced_push_restores_on_the_new_branch(world: World, revert) -> None:
    """The bad commit was rewritten with its content kept: the documents are still given their good text."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    history = await world.opened(shop.folder)
    shop.write({"x.yaml": "x: 1\n"})
    shop.git("add", ".")
    shop.git("commit", "-q", "--amend", "-m", "Bad, amended")
    await history.revert(revert(bad, good))
    assert shop.log() == ["Roll back orders to 1.0.0", "Bad, amended", "Good"]
    assert shop.read("shop.yaml") == SHOP
    assert shop.read("x.yaml") == "x: 1\n"


async def test_a_commit_to_a_file_that_changed_meanwhile_is_merged_or_refused(world: World) -> None:
    """`set image` computes on the head it read: another person's lines are kept, and a clash is refused."""
    shop = world.repository()
    shop.commit({"shop.yaml": SHOP})
    history = await world.opened(shop.folder)
    start = (await history.head()).commit
    shop.commit({"shop.yaml": SHOP.replace("stock:1.0.0", "stock:2.0.0")})
    made = await history.commit({"shop.yaml": BAD}, "Set orders", author="Bo <bo@example.org>")
    assert shop.read("shop.yaml", made) == BAD.replace("stock:1.0.0", "stock:2.0.0")
    assert shop.git("log", "-1", "--format=%an %ae %cn") == "Bo bo@example.org Ada"
    clash = SHOP.replace("stock:1.0.0", "stock:3.0.0")
    with pytest.raises(Refused, match=r"shop\.yaml was changed on main meanwhile"):
        await history.commit({"shop.yaml": clash}, "Set stock", base=start)
    assert shop.head() == made


async def test_a_commit_that_changes_nothing_is_the_head(world: World) -> None:
    """No empty commits."""
    shop = world.repository()
    head = shop.commit({"shop.yaml": SHOP})
    history = await world.opened(shop.folder)
    assert await history.commit({"shop.yaml": SHOP}, "Set") == head


async def test_without_a_name_in_git_the_commits_are_sternways(world: World) -> None:
    """A machine account needs no set-up."""
    shop = world.repository()
    shop.commit({"shop.yaml": SHOP})
    (world.folder / "home/.gitconfig").unlink()
    history = await world.opened(shop.folder)
    await history.commit({"shop.yaml": BAD}, "Set")
    assert shop.git("log", "-1", "--format=%an <%ae> %cn") == "Sternway <sternway@localhost> Sternway"


async def test_unusual_settings_of_the_users_git_change_nothing(world: World, revert) -> None:
    """What a person sets for their own comfort must not change what is read from Git or written to it."""
    shop = world.repository()
    text = SHOP.replace("\n", "\r\n")
    good = shop.commit({"shop.yaml": text}, "Good")
    bad = shop.commit({"shop.yaml": text.replace("orders:1.0.0", "orders:1.1.0")}, "Böse")
    bare = world.server(shop)
    for setting in (
        "fetch.prune true", "color.ui always", "column.ui always", "push.followTags true",
        "safe.bareRepository explicit", "protocol.version 0", "core.autocrlf true", "core.abbrev 5",
        "i18n.logOutputEncoding latin1", "core.quotePath true", "push.default nothing", "fetch.parallel 0",
        "core.pager false", "commit.cleanup strip", "core.commentChar 5", "notes.displayRef *",
    ):  # fmt: skip
        shop.git("config", "--global", *setting.split(" "))
    history = await world.opened(bare)
    assert (await history.head()).subject == "Böse"
    done = await history.revert(revert(bad, good))
    assert dict((await history.at(str(done.commit))).files) == {"shop.yaml": text}
    assert (await history.revert(revert(bad, good))).commit == done.commit


async def test_a_repository_that_is_back_is_no_trouble_any_more(world: World) -> None:
    """`trouble` tells what is wrong now, not what was."""
    shop = world.repository()
    shop.commit({"shop.yaml": SHOP})
    history = await world.opened(shop.folder)
    shop.folder.rename(world.folder / "away")
    with pytest.raises(HistoryUnavailable):
        await history.head()
    assert history.trouble
    (world.folder / "away").rename(shop.folder)
    await history.head()
    assert history.trouble == ""


@pytest.mark.parametrize("scope", ["global", "local"])
async def test_commits_are_signed_when_the_users_git_signs(world: World, revert, scope: str) -> None:
    """With commit.gpgSign and an ssh key, Git itself verifies the revert; set for the user or the repository."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    key = world.ssh_key()
    shop.git("config", f"--{scope}", "gpg.format", "ssh")
    shop.git("config", f"--{scope}", "user.signingKey", str(key))
    shop.git("config", f"--{scope}", "gpg.ssh.allowedSignersFile", str(world.folder / "signers"))
    shop.git("config", f"--{scope}", "commit.gpgSign", "true")
    history = await world.opened(shop.folder)
    done = await history.revert(revert(bad, good))
    assert done.commit is not None
    assert shop.git("log", "-1", "--format=%G? %GS", done.commit) == "G ada@example.org"
    shop.git("config", "--global", "log.showSignature", "true")
    assert (await history.head()).subject == "Roll back orders to 1.0.0"
    assert (await history.revert(revert(bad, good))).commit == done.commit


async def test_a_key_that_cannot_sign_delays_the_revert(world: World, revert) -> None:
    """An unsigned commit is never made instead."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    shop.git("config", "gpg.format", "ssh")
    shop.git("config", "user.signingKey", str(world.folder / "absent"))
    shop.git("config", "commit.gpgSign", "true")
    history = await world.opened(shop.folder)
    with pytest.raises(HistoryUnavailable, match="could not be signed"):
        await history.revert(revert(bad, good))
    assert shop.head() == bad


async def test_a_server_that_hangs_is_given_up_and_its_processes_end(world: World, revert, monkeypatch) -> None:
    """Every command has a time-out, and nothing that it started stays behind."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    over_ssh(world, monkeypatch)
    source = f"host.invalid:{world.server(shop)}"
    history = await world.opened(source)
    executable(world.folder / "ssh", f"echo $$ > {world.folder}/pid\nexec sleep 60\n")
    pid = world.folder / "pid"
    for timeout_s in (0.5, 2.0, 8.0):  # a busy machine may not have come as far as the ssh program
        monkeypatch.setattr("sternway.history.mirror.NETWORK_TIMEOUT_S", timeout_s)
        with pytest.raises(HistoryUnavailable, match=rf"git fetch did not end within {timeout_s:g} s"):
            await history.revert(revert(bad, good))
        if pid.exists() and pid.read_text():
            break
    await until(lambda: _ended(int(pid.read_text())))
    over_ssh(world, monkeypatch)
    assert (await history.revert(revert(bad, good))).commit is not None


async def test_a_lock_that_a_power_loss_left_in_the_mirror_does_not_block_for_ever(world: World, revert) -> None:
    """The first call fails and clears it, the next one works; a young lock is respected."""
    shop = world.repository()
    good, bad = shop.commit({"shop.yaml": SHOP}, "Good"), shop.commit({"shop.yaml": BAD}, "Bad")
    history = await world.opened(shop.folder)
    lock = history._mirror.folder / "refs/heads/main.lock"
    lock.touch()
    for _ in range(2):
        with pytest.raises(HistoryUnavailable):
            await history.revert(revert(bad, good))
        assert lock.exists()
    os.utime(lock, (0, 0))
    with pytest.raises(HistoryUnavailable):
        await history.revert(revert(bad, good))
    assert (await history.revert(revert(bad, good))).commit == shop.head()


def _ended(pid: int) -> bool:
    """Whether a killed process is no more; the kernel takes its time, and a dead one may wait to be collected."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def executable(path: Path, script: str) -> None:
    """Write a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

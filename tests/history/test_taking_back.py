"""What a rollback in a cluster reverts in a repository on a real server: nothing but the service, known by names and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from git_world import SHOP, World

from sternway.clock import SystemClock
from sternway.domain.gitops import Origin, TakeBack
from sternway.domain.releases import Revert
from sternway.errors import HistoryUnavailable, InvalidInput, Refused
from sternway.history.repositories import Repositories
from sternway.history.takeback import with_entries_of
from sternway.testing.git_server import GitServer

BAD = SHOP.replace("orders:1.0.0", "orders:1.1.0")
VALUES = "orders:\n  image:\n    tag: 1.0.0\nstock:\n  image:\n    tag: 1.0.0\n"
IMAGES = "images:\n  - name: registry/orders\n    newTag: 1.0.0\n  - name: registry/stock\n    newTag: 1.0.0\n"


class Place:
    """A server, and Sternway's way to it."""

    def __init__(self, folder: Path, server: GitServer) -> None:
        self.server = server
        self.access = folder / "access"
        self.access.mkdir()
        (self.access / "credentials").write_text(server.credentials)
        self.repositories = Repositories(state=folder / "mirrors", access=self.access, clock=SystemClock())
        server.create("shop")

    def commit(self, files: Mapping[str, str | None], message: str = "Change") -> str:
        """A person pushes to main."""
        return self.server.commit("shop", files, message)

    def text(self, path: str, commit: str = "") -> str:
        """A file on main."""
        return self.server.files("shop", commit or self.server.head("shop"))[path]

    def asked(
        self,
        *good: str,
        bad: str = "",
        folder: str = "apps",
        alone: bool = False,
        branch: str = "",
        fits: Callable[[Mapping[str, str]], bool | None] = lambda _: None,
    ) -> TakeBack:
        """Take the service orders back."""
        origin = Origin(
            by="Argo CD Application argocd/shop",
            repository=self.server.url("shop"),
            branch=branch,
            folders=(folder,),
            revision=bad,
            alone=alone,
        )
        revert = Revert(
            release="orders.shop-17",
            service="orders.shop",
            bad="51839f6c721e",
            restore="62b14137bd2d",
            documents=(),
            subject="Roll orders.shop back from 1.1.0 to 1.0.0",
            body="5 of 40 answers were errors.",
            trailers=(("Sternway-Release", "orders.shop-17"),),
        )
        return TakeBack(
            revert=revert,
            origin=origin,
            good=good,
            names=frozenset({("Deployment", "orders"), ("ConfigMap", "settings")}),
            words=frozenset({"orders", "registry/orders"}),
            fits=fits,
        )


@pytest.fixture
def place(world: World) -> Iterator[Place]:
    """Give a server with an empty repository."""
    with GitServer(world.folder / "git") as server:
        yield Place(world.folder, server)


async def test_only_the_services_documents_go_back(place: Place) -> None:
    """A commit that changed two services, and one that came later, lose nothing but what is about the bad one."""
    good = place.commit({"apps/shop.yaml": SHOP, "notes.md": "one"})
    bad = place.commit({"apps/shop.yaml": BAD.replace("stock:1.0.0", "stock:2.0.0"), "notes.md": "two"}, "Ship both")
    place.commit({"notes.md": "three"})
    done = await place.repositories.take_back(place.asked(good, bad=bad))
    assert done.commit == place.server.head("shop")
    assert done.branch is None
    assert place.text("apps/shop.yaml") == SHOP.replace("stock:1.0.0", "stock:2.0.0")
    assert place.text("notes.md") == "three"
    message = place.server.message("shop", done.commit or "")
    assert message.startswith("Roll orders.shop back from 1.1.0 to 1.0.0")
    assert f"Sternway-Reverts: {bad}" in message
    assert done == await place.repositories.take_back(place.asked(good, bad=bad))


async def test_the_commit_is_found_by_what_the_manifests_say(place: Place) -> None:
    """Without word of when the good version was in force, the last commit whose manifests fit it is it."""
    place.commit({"apps/shop.yaml": SHOP.replace("orders:1.0.0", "orders:0.9.0")})
    place.commit({"apps/shop.yaml": SHOP})
    place.commit({"apps/shop.yaml": BAD}, "Bad")
    place.commit({"apps/shop.yaml": BAD.replace("stock:1", "stock:2")}, "Another service")
    asked = place.asked(fits=lambda files: "orders:1.0.0" in files["apps/shop.yaml"])
    done = await place.repositories.take_back(asked)
    assert done.commit
    assert place.text("apps/shop.yaml") == SHOP.replace("stock:1", "stock:2")


async def test_a_commit_that_only_seemed_to_be_in_force_is_passed_over(place: Place) -> None:
    """The tool told of the bad commit before the cluster showed it, or of one whose manifests are another version's."""
    good = place.commit({"apps/shop.yaml": SHOP})
    other = place.commit({"apps/shop.yaml": SHOP.replace("orders:1.0.0", "orders:1.0.5")})
    bad = place.commit({"apps/shop.yaml": BAD})
    asked = place.asked(bad, other, good, bad=bad, fits=lambda files: "orders:1.0.0" in files["apps/shop.yaml"])
    assert (await place.repositories.take_back(asked)).commit
    assert place.text("apps/shop.yaml") == SHOP


async def test_nothing_is_guessed(place: Place) -> None:
    """Where nothing tells which commit brought the bad version, nothing is pushed, and a person is told."""
    place.commit({"apps/kustomization.yaml": IMAGES})
    bad = place.commit({"apps/kustomization.yaml": IMAGES.replace("stock\n    newTag: 1", "stock\n    newTag: 2")})
    with pytest.raises(Refused, match=r"which commit brought the bad version of orders\.shop is not known"):
        await place.repositories.take_back(place.asked(bad=bad))
    assert place.server.head("shop") == bad


async def test_a_shared_kustomization_loses_only_the_services_entry(place: Place) -> None:
    """Also one in a base that the overlay takes from elsewhere in the repository."""
    good = place.commit({"base/kustomization.yaml": IMAGES, "apps/kustomization.yaml": "resources: [../base]\n"})
    both = IMAGES.replace("newTag: 1.0.0", "newTag: 1.1.0")
    bad = place.commit({"base/kustomization.yaml": both})
    assert (await place.repositories.take_back(place.asked(good, bad=bad))).commit
    wanted = both.replace("orders\n    newTag: 1.1.0", "orders\n    newTag: 1.0.0")
    assert place.text("base/kustomization.yaml") == wanted


async def test_alone_in_a_folder_everything_there_goes_back(place: Place) -> None:
    """Values, templates and what generators read: a chart of one workload is the workload's."""
    files = {"apps/values.yaml": "image:\n  tag: 1.0.0\n", "apps/settings.env": "COLOUR=blue\n", "README.md": "one"}
    good = place.commit(files)
    bad = place.commit(
        {"apps/values.yaml": "image:\n  tag: 1.1.0\n", "apps/settings.env": "COLOUR=red\n", "README.md": "two"}
    )
    assert (await place.repositories.take_back(place.asked(good, bad=bad, alone=True))).commit
    assert {path: place.text(path) for path in files} == {**files, "README.md": "two"}


async def test_the_whole_repository_can_be_the_place(place: Place) -> None:
    """A path that is the root of the repository."""
    good = place.commit({"shop.yaml": SHOP})
    bad = place.commit({"shop.yaml": BAD})
    fits = lambda files: "orders:1.0.0" in files["shop.yaml"]  # noqa: E731  short
    assert (await place.repositories.take_back(place.asked(good, bad=bad, folder="", fits=fits))).commit
    assert place.text("shop.yaml") == SHOP


async def test_what_a_person_reverted_is_left(place: Place) -> None:
    """Nothing is pushed when the branch is as it was already."""
    good = place.commit({"apps/shop.yaml": SHOP})
    bad = place.commit({"apps/shop.yaml": BAD})
    mended = place.commit({"apps/shop.yaml": SHOP}, "Take it back by hand")
    done = await place.repositories.take_back(place.asked(good, bad=bad))
    assert (done.commit, place.server.head("shop")) == (None, mended)
    assert "nothing to restore" in done.message


@pytest.mark.parametrize("why", ["protected", "changed"])
async def test_what_the_branch_does_not_take_stands_on_one_of_its_own(place: Place, why: str) -> None:
    """A protected branch, or one on which the same lines were changed since: the revert is there to be merged."""
    good = place.commit({"apps/shop.yaml": SHOP})
    head = bad = place.commit({"apps/shop.yaml": BAD})
    if why == "protected":
        place.server.protect("shop")
    else:
        head = place.commit({"apps/shop.yaml": BAD.replace("orders:1.1.0", "orders:1.2.0")})
    done = await place.repositories.take_back(place.asked(good, bad=bad))
    assert done.branch == "sternway/rollback-orders-shop-17"
    assert done.branch in place.server.branches("shop")
    assert place.server.head("shop") == head
    assert place.text("apps/shop.yaml", done.commit or "") == SHOP
    assert why in done.message


async def test_a_rewritten_branch_is_a_persons_matter(place: Place) -> None:
    """The commit in force is not on the branch any more: no guess is made."""
    good = place.commit({"apps/shop.yaml": SHOP})
    bad = place.server.commit("shop", {"apps/shop.yaml": BAD}, "Elsewhere", branch="elsewhere")
    with pytest.raises(Refused, match="is not on main"):
        await place.repositories.take_back(place.asked(good, bad=bad, branch="main"))


async def test_a_tag_is_no_branch(place: Place) -> None:
    """What an Application follows is not told by its name; the server knows."""
    place.commit({"apps/shop.yaml": SHOP})
    with pytest.raises(InvalidInput, match=r"there is no branch v1.2.3"):
        await place.repositories.take_back(place.asked(branch="v1.2.3"))


async def test_credentials_are_read_anew_and_never_said(place: Place) -> None:
    """A wrong password is tried again, as the Secret may be mended; it is in no error, and the right one then works."""
    good = place.commit({"apps/shop.yaml": SHOP})
    bad = place.commit({"apps/shop.yaml": BAD})
    (place.access / "credentials").write_text(f"http://ada:wr0ng-s3cret@{place.server.host}/\n")
    with pytest.raises(HistoryUnavailable) as caught:
        await place.repositories.take_back(place.asked(good, bad=bad))
    error: BaseException | None = caught.value
    while error is not None:
        assert "wr0ng" not in f"{error}{error!r}{getattr(error, 'hint', '')}"
        error = error.__cause__ or error.__context__
    (place.access / "credentials").unlink()
    with pytest.raises(Refused, match="has no access") as refused:
        await place.repositories.take_back(place.asked(good, bad=bad))
    assert "Secret sternway-git" in refused.value.hint
    (place.access / "credentials").write_text(place.server.credentials)
    assert (await place.repositories.take_back(place.asked(good, bad=bad))).commit


async def test_no_password_stands_in_an_argument_or_a_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's own trace of everything that it starts, and everything that is kept, are free of it."""
    trace = place.access.parent / "trace"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    good = place.commit({"apps/shop.yaml": SHOP})
    bad = place.commit({"apps/shop.yaml": BAD})
    await place.repositories.take_back(place.asked(good, bad=bad))
    kept = [trace, *(one for one in (place.access.parent / "mirrors").rglob("*") if one.is_file())]
    secrets = (place.server.password, place.server.credentials.partition("@")[0].rpartition(":")[2])
    assert len(kept) > 3
    assert not [one for one in kept for secret in secrets if secret.encode() in one.read_bytes()]


@pytest.mark.parametrize(
    ("was", "wanted", "kept"),
    [
        pytest.param(
            VALUES.replace("1.0.0", "1.1.0"), VALUES, "stock:\n  image:\n    tag: 1.1.0\n", id="nested values"
        ),
        pytest.param(
            "- image: registry/orders-worker\n  tag: 2\n- image: registry/orders\n  tag: 2\n",
            "- image: registry/orders-worker\n  tag: 1\n- image: registry/orders\n  tag: 1\n",
            "- image: registry/orders-worker\n  tag: 2\n",
            id="a name that only begins so",
        ),
        pytest.param("a: 2\norders: 2\n", "a: 1\norders: 1\n", "a: 2\n", id="neighbours"),
        pytest.param(
            "- name: orders\n  tag: 2\n- name: stock\n  tag: 2\n  size: 1\n",
            "- name: orders\n  tag: 1\n- name: stock\n  tag: 1\n",
            "- name: stock\n  tag: 2\n  size: 1\n",
            id="lists without an indent",
        ),
        pytest.param("all: 2\n", "all: 1\n", "all: 2\n", id="nobody's"),
    ],
)
def test_entries_of_shared_files_are_told_apart(was: str, wanted: str, kept: str) -> None:
    """Entries that are about the words go back; all others stay."""
    found = with_entries_of(frozenset({"orders", "registry/orders"}), was, wanted)
    assert kept in found
    for line in ("orders: 2", "registry/orders\n  tag: 2", "orders:\n  image:\n    tag: 1.1.0"):
        assert line not in found

"""`GitHistory`: desired state in Git, behind `ports.History`. Built by `sternway.bootstrap`, called by the shell.

One bare mirror follows the source; reading is from the mirror, writing is a commit made in the mirror and then
brought to the source. `watch` wakes the control loop when the branch moves. When the source does not answer,
the mirror's last state still serves, so that nothing but writing to Git has to wait (`trouble` says so).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sternway.clock import Clock
from sternway.domain.releases import Mark, Revert, Reverted
from sternway.errors import HistoryUnavailable, Refused
from sternway.history import notes
from sternway.history.command import NETWORK_TIMEOUT_S, GitFailed
from sternway.history.commits import AUTHOR, Identity, commit_tree, identity, message, parse_author
from sternway.history.local import Declined, LocalRepository, inspect
from sternway.history.mirror import NOTES, Blob, Mirror, Rewrite, unreachable
from sternway.history.publish import publish, push, with_retries
from sternway.history.restore import Clash
from sternway.history.revert import (
    Choose,
    Chosen,
    branch_name,
    changes_onto,
    changes_onto_bad,
    commit_of_release,
    revert_message,
)
from sternway.history.source import manifests_folder, parse, wrong
from sternway.ports import Snapshot

LOCAL_POLL_S = 0.2
REMOTE_POLL_S = 15.0
_LONGEST_POLL_S = 60.0
_SNAPSHOTS_KEPT = 16
_BRANCHES_TRIED = 20


class GitHistory:
    """The history of one folder of manifests on one branch. `wake` is called when the branch has moved.

    environment: further variables for git, as where an SSH key stands.
    """

    def __init__(
        self,
        *,
        source: str,
        branch: str | None,
        path: str,
        state_dir: Path,
        clock: Clock,
        wake: Callable[[], None],
        poll_s: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._source = replace(parse(source), environment=tuple((environment or {}).items()))
        self._root = manifests_folder(path)
        self._clock = clock
        self._wake = wake
        self._poll_s = poll_s or (LOCAL_POLL_S if self._source.folder else REMOTE_POLL_S)
        name = hashlib.sha256(self._source.url.encode()).hexdigest()[:12]
        self._mirror = Mirror(state_dir.resolve() / f"{name}.git", self._source)
        self._mirror.branch = branch or ""
        self._local: LocalRepository | None = None
        self._seen: object = None
        self._served: str | None = None
        self._watching = False
        self._snapshots: dict[str, Snapshot] = {}
        self.trouble: str = ""
        self.read_at_s: float | None = None

    @property
    def branch(self) -> str:
        """The watched branch; known once opened."""
        return self._mirror.branch

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """How often the watched branch was rewritten (by a forced push) since the start, latest last."""
        return self._mirror.rewrites

    async def open(self) -> None:
        """Check the source, make the mirror and read the branch. Raises InvalidInput or HistoryUnavailable."""
        self._mirror.folder.parent.mkdir(parents=True, exist_ok=True)
        async with self._failures():
            if self._source.folder:
                await self._open_folder()
            else:
                await self._open_server()
            head = self._mirror.latest
            assert head is not None, "opening has read it"
            if self._root:
                there = await self._mirror.git.run("cat-file", "-t", f"{head}:{self._root}")
                if there.text != "tree":
                    raise wrong(
                        str(self._source),
                        f"the branch {self.branch} holds no folder {self._root}",
                        "check the path, and that its files are committed",
                    )

    async def watch(self) -> None:
        """Follow the source until cancelled; call `wake` each time its branch has moved."""
        self._watching = True
        announced = self._mirror.latest
        wait_s = self._poll_s
        try:
            while True:
                jitter = 1.0 if self._local else random.uniform(0.9, 1.1)  # noqa: S311 - spreads pollers
                await asyncio.sleep(wait_s * jitter)
                try:
                    await (self._look() if self._local else self._ask_server())
                    wait_s = self._poll_s
                except HistoryUnavailable as exc:
                    self._troubled(exc)
                    wait_s = min(max(_LONGEST_POLL_S, self._poll_s), wait_s * 2)
                if self._mirror.latest != announced:
                    announced = self._mirror.latest
                    self._wake()
        finally:
            self._watching = False

    async def head(self) -> Snapshot:
        """See History. While the source does not answer, `watch` running, the state seen last is given."""
        async with self._failures():
            try:
                if self._local or not self._watching:
                    await self._look()
            except HistoryUnavailable:
                if not self._watching:
                    raise
            head = self._mirror.latest
            if head is None:
                raise HistoryUnavailable(f"{self._source} was never read", hint="open the history first")
            snapshot = await self._snapshot(head)
            self._served = head
            return snapshot

    async def at(self, commit: str) -> Snapshot:
        """See History. Raises Refused for a commit that is not in the repository."""
        async with self._failures():
            return self._snapshots.get(commit) or await self._snapshot(await self._mirror.commit_id(commit))

    async def revert(self, revert: Revert) -> Reverted:
        """See History. `commit` is None when there was nothing left to restore."""
        return await self.revert_as(revert, partial(self._choose, revert))

    async def revert_as(self, revert: Revert, choose: Choose) -> Reverted:
        """Push what `choose` says of the head, under the revert's name; chosen again when the branch moves."""
        async with self._failures(), self._mirror.locked():
            return await with_retries(f"the revert of {revert.release}", lambda: self._revert_once(revert, choose))

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See History."""

        async def once() -> None:
            await notes.write(self._mirror, marks, head=await self._fetch())

        async with self._failures(), self._mirror.locked():
            try:
                await with_retries("the ledger", once)
            except Declined as exc:
                hint = f"let Sternway write {NOTES} there"
                raise HistoryUnavailable(f"the ledger was not taken: {exc}", hint=hint, retry_in_s=60) from exc

    async def ledger(self) -> tuple[Mark, ...]:
        """See History. While the source does not answer, the marks seen last are given."""
        async with self._failures():
            with contextlib.suppress(HistoryUnavailable):  # kept in `trouble`
                if self._local or not self._watching:
                    await self._look()
            return await notes.read(self._mirror)

    async def commit(
        self, changes: Mapping[str, str], message: str, *, author: str | None = None, base: str | None = None
    ) -> str:
        """Commit changed texts (path from the watched folder -> text) and return the commit.

        base: the commit whose texts were changed; by default the head that `head()` gave last. What others
        committed since is kept; where it clashes, Refused.
        """
        start = base or self._served
        async with self._failures(), self._mirror.locked():
            return await with_retries("the commit", lambda: self._commit_once(changes, message, author, start))

    async def _open_folder(self) -> None:
        local = await inspect(self._mirror.git, self._source)
        branch = self._mirror.branch or local.checked_out
        git, where = self._mirror.git, str(self._source)
        if branch is None:
            fix = "run git switch BRANCH there, or name the branch to watch"
            raise wrong(where, "no branch is checked out (detached HEAD)", fix)
        asked = await git.run(
            "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", folder=local.address
        )
        if asked.code != 0:
            listed = await git.run("for-each-ref", "--format=%(refname:short)", "refs/heads", folder=local.address)
            known = listed.text.splitlines()
            if not known:
                raise wrong(where, "the repository has no commit yet", "run git add . && git commit -m 'First state'")
            raise wrong(where, f"there is no branch {branch}", f"its branches are {', '.join(known[:10])}")
        self._local = local
        self._mirror.branch = branch
        self._mirror.address = str(local.address)
        self._root = "/".join(part for part in (local.prefix, self._root) if part)
        await self._mirror.create(object_format="sha256" if len(asked.text) == 64 else "sha1")
        await self._look()

    async def _open_server(self) -> None:
        mirror = self._mirror
        try:
            refs = await self._server_refs("HEAD", "refs/heads/*")
        except HistoryUnavailable:
            if not await self._reopen():
                raise
            return
        where = str(self._source)
        branches = [name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")]
        if not branches:
            raise wrong(where, "the repository has no commit yet", "push a first commit")
        branch = mirror.branch or refs.get("ref: HEAD", "").removeprefix("refs/heads/")
        if branch not in branches:
            message = f"there is no branch {branch}" if branch else "its HEAD is on no branch"
            raise wrong(where, message, f"name one of its branches: {', '.join(sorted(branches)[:10])}")
        mirror.branch = branch
        await mirror.create(object_format="sha256" if len(next(iter(refs.values()))) == 64 else "sha1")
        await mirror.git.ok("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        await self._look()

    async def _reopen(self) -> bool:
        """Go on with the mirror of an earlier run while the server does not answer."""
        mirror = self._mirror
        if not (mirror.folder / "HEAD").exists():
            return False
        if not mirror.branch:
            mirror.branch = (await mirror.git.run("symbolic-ref", "--short", "HEAD")).text
        mirror.latest = await mirror.head()
        return mirror.latest is not None

    async def _server_refs(self, *patterns: str) -> dict[str, str]:
        """Ask the server for refs; "ref: HEAD" is the branch that its HEAD is on."""
        mirror = self._mirror
        asked = await mirror.git.run(
            *("ls-remote", "--symref", mirror.address, *patterns),
            folder=mirror.folder.parent,
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if asked.code != 0:
            raise self._troubled(unreachable(self._source, asked.error, asked.last_line))
        refs: dict[str, str] = {}
        for line in asked.text.splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):
                refs[f"ref: {name}"] = value.removeprefix("ref: ")
            else:
                refs[name] = value
        return refs

    async def _ask_server(self) -> None:
        refs = await self._server_refs(f"refs/heads/{self.branch}", NOTES)
        if refs != self._seen:
            await self._look()
            self._seen = refs
        self.trouble = ""
        self.read_at_s = self._clock.now()

    async def _look(self) -> None:
        """Fetch when the source has changed (a server: always). Raises HistoryUnavailable and keeps the trouble."""
        now = self._local.fingerprint(self.branch) if self._local else None
        if self._local and now == self._seen and not self.trouble:
            self.read_at_s = self._clock.now()
            return
        async with self._failures(), self._mirror.locked():
            await self._fetch()
        if self._local:
            self._seen = now

    async def _fetch(self) -> str:
        try:
            head = await self._mirror.fetch()
        except HistoryUnavailable as exc:
            raise self._troubled(exc) from exc
        self.trouble = ""
        self.read_at_s = self._clock.now()
        return head

    def _troubled(self, exc: HistoryUnavailable) -> HistoryUnavailable:
        self.trouble = exc.message
        return exc

    async def _snapshot(self, commit: str) -> Snapshot:
        known = self._snapshots.pop(commit, None) or await self._mirror.snapshot(commit, self._root)
        self._snapshots[commit] = known
        while len(self._snapshots) > _SNAPSHOTS_KEPT:
            del self._snapshots[next(iter(self._snapshots))]
        return known

    async def _revert_once(self, revert: Revert, choose: Choose) -> Reverted:
        mirror = self._mirror
        head = await self._fetch()
        chosen = await choose(mirror, head)
        revert = replace(revert, trailers=(*revert.trailers, *chosen.trailers))
        done = await commit_of_release(mirror, revert.release, after=chosen.bad, head=head)
        if done:
            return Reverted(release=revert.release, commit=done, message=f"reverted on {self.branch}")
        if chosen.clash:
            commit = await self._make(chosen.changes, revert_message(revert), AUTHOR, onto=chosen.bad)
            reason = f"{chosen.clash} was changed on {self.branch} in the same lines since {chosen.bad[:10]}"
            return await self._aside(revert, commit, reason, "resolve it by")
        if not chosen.changes:
            good = chosen.good[:10]
            message = f"nothing to restore: {self.branch} has the manifests of {revert.service} as at {good} already"
            return Reverted(release=revert.release, commit=None, message=message)
        commit = await self._make(chosen.changes, revert_message(revert), AUTHOR, onto=head)
        try:
            await publish(mirror, self._local, commit=commit, onto=head)
        except Declined as exc:
            return await self._aside(revert, commit, str(exc), exc.remedy)
        return Reverted(release=revert.release, commit=commit, message=f"reverted on {self.branch}")

    async def _choose(self, revert: Revert, mirror: Mirror, head: str) -> Chosen:
        bad, good = await mirror.commit_id(revert.bad), await mirror.commit_id(revert.restore)
        try:
            changes = await changes_onto(mirror, revert, head=head, root=self._root)
        except Clash as exc:
            changes = await changes_onto_bad(mirror, revert, root=self._root)
            return Chosen(bad=bad, good=good, changes=changes, clash=str(exc))
        return Chosen(bad=bad, good=good, changes=changes)

    async def _aside(self, revert: Revert, commit: str, reason: str, remedy: str) -> Reverted:
        """Put the revert on a branch of its own; one that is there from an earlier attempt is found again."""
        for number in range(1, _BRANCHES_TRIED):
            branch = branch_name(revert.release, number)
            there = await self._commit_on(branch)
            if there is None:
                try:
                    await push(self._mirror, commit, f"refs/heads/{branch}")
                except Declined as exc:
                    said = reason if str(exc) == reason else f"{reason}; {exc}"
                    message = f"neither {self.branch} nor {branch} took the revert: {said}"
                    raise HistoryUnavailable(message, hint="let Sternway push to one of them", retry_in_s=60) from exc
            elif await commit_of_release(self._mirror, revert.release, head=there):
                commit = there
            else:
                continue
            message = (
                f"the revert is on the branch {branch}, not on {self.branch}: {reason}; {remedy} git merge {branch}"
            )
            return Reverted(release=revert.release, commit=commit, branch=branch, message=message)
        raise HistoryUnavailable(f"no name is left for a branch for {revert.release}", hint="remove old ones")

    async def _commit_on(self, branch: str) -> str | None:
        mirror = self._mirror
        kept = f"refs/sternway/branches/{branch}"
        found = await mirror.git.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", mirror.address, f"+refs/heads/{branch}:{kept}"),
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if found.code != 0 and "find remote ref" not in found.error:
            raise unreachable(self._source, found.error, found.last_line)
        return await mirror.resolve(kept) if found.code == 0 else None

    async def _commit_once(self, changes: Mapping[str, str], text: str, author: str | None, start: str | None) -> str:
        mirror = self._mirror
        head = await self._fetch()
        blobs: dict[str, Blob | None] = {}
        for name, wanted in changes.items():
            path = "/".join(part for part in (self._root, manifests_folder(name)) if part)
            now = await mirror.file(head, path)
            base = await mirror.file(start, path) if start and start != head else now
            result: str | None = wanted
            if now and base and now.text not in (base.text, wanted):
                result = await mirror.merge(ours=now.text, base=base.text, theirs=wanted)
            if result is None or (base is None) != (now is None):
                raise Refused(f"{name} was changed on {self.branch} meanwhile", hint="look at it and try again")
            if now is None or now.text != result:
                blobs[path] = Blob(mode=now.mode if now else "100644", text=result)
        if not blobs:
            return head
        who = await identity(mirror, self._local)
        named = parse_author(author) if author else who.committer
        commit = await self._make(blobs, message("", text, ()), named, onto=head, who=who)
        try:
            await publish(mirror, self._local, commit=commit, onto=head)
        except Declined as exc:
            raise Refused(f"the commit was not taken: {exc}", hint=f"{exc.remedy} the command again") from exc
        self._served = commit
        return commit

    async def _make(
        self,
        changes: Mapping[str, Blob | None],
        text: str,
        author: tuple[str, str],
        *,
        onto: str,
        who: Identity | None = None,
    ) -> str:
        return await commit_tree(
            self._mirror,
            who or await identity(self._mirror, self._local),
            tree=await self._mirror.tree(onto, changes),
            parent=onto,
            message=text,
            author=author,
            at_s=self._clock.now(),
        )

    @contextlib.asynccontextmanager
    async def _failures(self) -> AsyncIterator[None]:
        """Say of a git command that failed unexpectedly that the repository is not usable now."""
        try:
            yield
        except GitFailed as exc:
            self._mirror.clear_stale_locks(exc.output.error)
            hint = "check the disk and the repository; it is tried again by itself"
            raise self._troubled(HistoryUnavailable(str(exc), hint=hint, retry_in_s=5)) from exc

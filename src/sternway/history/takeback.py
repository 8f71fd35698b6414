"""What a rollback in a cluster changes in the repository that the workload comes from. Used by `repositories`.

Nothing is rendered. Between the commit at which the good version was in force and the bad one, the changes that are about the
service are taken back: documents by their names; files that many services may share (kustomization.yaml, values of a chart,
what generators read) whole when the service is alone there, or else the entries in which its image or name stands.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from difflib import SequenceMatcher

import yaml

from sternway.domain.gitops import TakeBack
from sternway.errors import Refused
from sternway.history.mirror import Blob, Mirror
from sternway.history.restore import Clash, Name, restore_onto_head, restored
from sternway.history.revert import Changes, Chosen
from sternway.manifests.edit import documents

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_YAML = (".yaml", ".yml")
_NO_MANIFESTS = frozenset({"", "Kustomization", "Component"})
_ITS_OWN = frozenset({"Deployment", "ConfigMap"})
_GOOD_TRIED = 10
_WALKED = 50


async def choose(asked: TakeBack, mirror: Mirror, head: str) -> Chosen:
    """See revert.Choose. Raises Refused when it is not known which commit brought the bad version."""
    bad = await _in_force(asked, mirror, head)
    good, changed = await _good(asked, mirror, bad)
    makers = await mirror.git.ok("log", "--format=%H", "--max-count=10", f"{good}..{bad}", "--", *changed)
    trailers = tuple(("Sternway-Reverts", commit) for commit in makers.text.splitlines())
    try:
        changes = await _onto(asked, mirror, changed, good=good, bad=bad, head=head)
    except Clash as exc:
        aside = await _onto(asked, mirror, changed, good=good, bad=bad, head=bad)
        return Chosen(bad=bad, good=good, changes=aside, clash=str(exc), trailers=trailers)
    return Chosen(bad=bad, good=good, changes=changes, trailers=trailers)


async def _in_force(asked: TakeBack, mirror: Mirror, head: str) -> str:
    """The commit that the cluster runs. Without word of it, the head."""
    if not asked.origin.revision:
        return head
    bad = await mirror.commit_id(asked.origin.revision)
    if not await mirror.is_ancestor(bad, head):
        said = f"{asked.origin.by} is at {bad[:10]}, which is not on {mirror.branch} (any more)"
        raise Refused(said, hint="take the change back by hand")
    return bad


async def _good(asked: TakeBack, mirror: Mirror, bad: str) -> tuple[str, list[str]]:
    """The commit to go back to, and the files that are about the service and differ since."""
    for known in asked.good[:_GOOD_TRIED]:
        good = await mirror.resolve(known)
        if good is None or good == bad or not await mirror.is_ancestor(good, bad):
            continue
        changed = await _changed(asked, mirror, good=good, bad=bad)
        if changed and asked.fits(await _texts(asked, mirror, good)) is not False:
            return good, changed
    folders = await _places(asked, mirror, bad)
    walk = await mirror.git.ok("log", "--format=%H", f"--max-count={_WALKED}", "--first-parent", bad, "--", *folders)
    for commit in walk.text.splitlines():
        good = await mirror.resolve(f"{commit}^")
        if good is None:
            break
        changed = await _changed(asked, mirror, good=good, bad=bad)
        if changed and asked.fits(await _texts(asked, mirror, good)):
            return good, changed
    raise Refused(
        f"which commit brought the bad version of {asked.revert.service} is not known: {asked.origin.place} at {bad[:10]} "
        "does not tell it by its manifests, and no commit of the good one was seen in force",
        hint="take the change back by hand",
    )


async def _changed(asked: TakeBack, mirror: Mirror, *, good: str, bad: str) -> list[str]:
    """The files that are about the service and differ."""
    places = await _places(asked, mirror, bad)
    listed = await mirror.git.ok("diff", "--name-only", "--no-renames", "-z", good, bad, "--", *places)
    paths = listed.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found = []
    for path in paths:
        texts = [_text(await mirror.file(commit, path)) for commit in (bad, good)]
        if _taken_back(asked, *texts) != texts[0]:
            found.append(path)
    return found


async def _onto(asked: TakeBack, mirror: Mirror, paths: Iterable[str], *, good: str, bad: str, head: str) -> Changes:
    """The files as they are to be at the head. Raises Clash."""
    changes: Changes = {}
    for path in paths:
        blobs = [await mirror.file(commit, path) for commit in (head, bad, good)]
        now, was, wanted = map(_text, blobs)
        try:
            text = await _file(asked, mirror, now=now, was=was, wanted=wanted)
        except Clash as exc:
            raise Clash(path) from exc
        if text != now:
            mode = next((blob.mode for blob in blobs if blob), "100644")
            changes[path] = None if text is None else Blob(mode=mode, text=text)
    return changes


async def _file(asked: TakeBack, mirror: Mirror, *, now: str | None, was: str | None, wanted: str | None) -> str | None:
    if _has_names(was, wanted):
        return await restore_onto_head(now, was, wanted, _names(asked, was, wanted), mirror.merge)
    target = _taken_back(asked, was, wanted)
    if now in (was, target):
        return target
    if now is None or was is None or target is None:
        raise Clash
    merged = await mirror.merge(ours=now, base=was, theirs=target)
    if merged is None:
        raise Clash
    return merged


def _taken_back(asked: TakeBack, was: str | None, wanted: str | None) -> str | None:
    """The file at the bad commit, with what is about the service as it was at the good one."""
    if _has_names(was, wanted):
        return restored(was, wanted, _names(asked, was, wanted))
    if asked.origin.alone:
        return wanted
    if was is None or wanted is None:  # a whole file that nobody can tell whose it is
        return was
    return with_entries_of(asked.words, was, wanted)


def _names(asked: TakeBack, *texts: str | None) -> frozenset[Name]:
    """The documents that are about the service; where it is alone, also what kustomize calls otherwise in the cluster."""
    named = asked.names | asked.origin.names
    if not asked.origin.alone:
        return named
    found = [one for text in texts if text is not None for one in documents(text)]
    return named | {(one.kind, one.name) for one in found if one.kind in _ITS_OWN}


def _has_names(*texts: str | None) -> bool:
    """Whether a file is manifests, each of which has a kind and a name."""
    found = [one.kind for text in texts if text is not None for one in documents(text)]
    return bool(found) and not _NO_MANIFESTS & set(found)


# Entries of shared files ------------------------------------------------------------------------------------------


def with_entries_of(words: frozenset[str], was: str, wanted: str) -> str:
    """A text with those changes taken back that are about one of the words: all lines of a change, or none."""
    about = re.compile("|".join(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])" for word in sorted(words)) or "(?!)")
    before, after = was.splitlines(keepends=True), wanted.splitlines(keepends=True)
    found: list[str] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag == "equal":
            found += before[i1:i2]
            continue
        single = zip(range(i1, i2), range(j1, j2), strict=True) if i2 - i1 == j2 - j1 else ()
        parts = [((i, i + 1), (j, j + 1)) for i, j in single] or [((i1, i2), (j1, j2))]
        for (start, end), (other, last) in parts:
            told = [
                *(_about(before, at) for at in range(start, end)),
                *(_about(after, at) for at in range(other, last)),
            ]
            ours = any(told) and all(about.search(one) for one in told if one)
            found += after[other:last] if ours else before[start:end]
    return "".join(found)


def _about(lines: list[str], at: int) -> str:
    """What a line is about: itself, the list item that it stands in, and the keys that lead there; "" for an empty one."""
    line = lines[at]
    if not line.strip():
        return ""
    told, depth = [line], _indent(line)
    item = at if line.lstrip().startswith("- ") else None
    for above in range(at - 1, -1, -1):
        line = lines[above]
        if not line.strip() or _indent(line) >= depth:
            continue
        depth = _indent(line)
        told.append(line)
        if item is None and line.lstrip().startswith("- "):
            item = above
    return "".join(told + (_item(lines, item) if item is not None else []))


def _item(lines: list[str], start: int) -> list[str]:
    depth, end = _indent(lines[start]), start + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > depth):
        end += 1
    return lines[start:end]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


# Which files ------------------------------------------------------------------------------------------------------


async def _places(asked: TakeBack, mirror: Mirror, commit: str) -> list[str]:
    """The folders and files of the origin, and what a kustomization there takes from elsewhere in the repository."""
    found = [*asked.origin.folders, *asked.origin.files]
    for place in found:
        if place in found[: found.index(place)]:
            continue
        found += [one for one in await _referred(mirror, commit, place) if not _within(one, found)]
    return ["."] if "" in found else list(dict.fromkeys(found))


async def _referred(mirror: Mirror, commit: str, folder: str) -> list[str]:
    for name in _KUSTOMIZATIONS:
        blob = await mirror.file(commit, posixpath.join(folder, name))
        if blob is None:
            continue
        try:
            said = yaml.safe_load(blob.text)
        except yaml.YAMLError:
            return []
        if not isinstance(said, dict):
            return []
        entries = [one for key in ("resources", "bases", "components") for one in said.get(key) or ()]
        entries += [one.get("path") for one in said.get("patches") or () if isinstance(one, dict)]
        local = [one for one in entries if isinstance(one, str) and "://" not in one and "?" not in one]
        paths = [posixpath.normpath(posixpath.join(folder, one)) for one in local]
        return [one for one in paths if one != "." and not one.startswith(("../", "/"))]
    return []


def _within(path: str, places: Iterable[str]) -> bool:
    return any(not one or path == one or path.startswith(f"{one}/") for one in places)


async def _texts(asked: TakeBack, mirror: Mirror, commit: str) -> dict[str, str]:
    """Every YAML file of the origin at a commit."""
    places = await _places(asked, mirror, commit)
    listed = await mirror.git.ok("ls-tree", "-r", "-z", commit, "--", *places)
    ids: dict[str, str] = {}
    for line in listed.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        meta, _, path = line.partition("\t")
        if meta.startswith("100") and (path.endswith(_YAML) or posixpath.basename(path) in _KUSTOMIZATIONS):
            ids[path] = meta.split(" ")[2]
    texts = await mirror.blobs(list(ids.values()))
    return {path: text.decode("utf-8", "replace") for path, text in zip(ids, texts, strict=True)}


def _text(blob: Blob | None) -> str | None:
    return blob.text if blob else None

"""Give single YAML documents of a file the text back that they had at an earlier commit. Used by `revert`.

Works on text alone: what is not a document of the failed release is never touched. Where a document has changed
again since the failed release, the two changes are merged line by line; where they clash, `Clash` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from typing import Protocol

from sternway.manifests.edit import documents

Key = tuple[str, str, int]
Name = tuple[str, str]


class Merge(Protocol):
    """Merge two texts that were made from one; None when they clash."""

    def __call__(self, *, ours: str, base: str, theirs: str) -> Awaitable[str | None]:
        """Merge."""
        ...


class Clash(Exception):
    """Somebody changed the same lines after the failed release."""


def restored(text: str | None, good: str | None, names: AbstractSet[Name]) -> str | None:
    """Give the named documents of `text` their form in `good`: changed, removed, or put back where they were."""
    if text == good:
        return text
    if text is None:
        return _only(good or "", names)
    return _apply(text, good or "", names, file_was_absent=good is None)


async def restore_onto_head(
    head: str | None, bad: str | None, good: str | None, names: AbstractSet[Name], merge: Merge
) -> str | None:
    """Do to the file at the head what `restored` does to the file at the bad commit. Raises Clash."""
    target = restored(bad, good, names)
    if target in (bad, head):
        return head
    if head == bad:
        return target
    if head is None or bad is None:
        if _same_documents(head, target, names):
            return head
        raise Clash
    if not all(kind for kind, _, _ in _keyed(head)):
        return await _merged(merge, ours=head, base=bad, theirs=target or "")
    return await _by_document(head, bad, good or "", names, merge)


async def _by_document(head: str, bad: str, good: str, names: AbstractSet[Name], merge: Merge) -> str | None:
    ours, base, theirs = _keyed(head), _keyed(bad), _keyed(good)
    settled: set[Key] = set()
    merged: dict[Key, str] = {}
    for key in base.keys() | theirs.keys():
        before, after, now = (
            _body(text, spans.get(key)) for text, spans in ((bad, base), (good, theirs), (head, ours))
        )
        if key[:2] not in names or after in (before, now):
            continue
        if now == before:
            settled.add(key)
        elif before is None or after is None or now is None:
            raise Clash
        else:
            merged[key] = await _merged(merge, ours=now, base=before, theirs=after)
    for key, body in merged.items():
        start, end = _keyed(head)[key]
        kept = len(head[start:end].rstrip("\r\n"))
        head = head[:start] + body.rstrip("\r\n") + head[start + kept :]
        if key not in _keyed(head):
            raise Clash
    return _apply(head, good, names, file_was_absent=False, only=settled)


async def _merged(merge: Merge, *, ours: str, base: str, theirs: str) -> str:
    # A last line without an end would clash with the same line that has one.
    result = await merge(ours=_ended(ours), base=_ended(base), theirs=_ended(theirs))
    if result is None:
        raise Clash
    return result


def _apply(
    text: str,
    good: str,
    names: AbstractSet[Name],
    *,
    file_was_absent: bool,
    only: AbstractSet[Key] | None = None,
) -> str | None:
    """Change, remove and put back documents; from the end to the start, so that earlier spans stay right."""
    wanted = _keyed(good)
    for key, (start, end) in sorted(_keyed(text).items(), key=lambda item: item[1], reverse=True):
        if key[:2] not in names or (only is not None and key not in only):
            continue
        text = _replace(text, start, end, good[slice(*wanted[key])]) if key in wanted else _remove(text, start, end)
    order = list(wanted)
    for index, key in enumerate(order):
        if key[:2] in names and key not in _keyed(text) and (only is None or key in only):
            text = _insert(text, good[slice(*wanted[key])], before=order[:index], after=order[index + 1 :])
    return None if file_was_absent and not _keyed(text) else text


def _replace(text: str, start: int, end: int, body: str) -> str:
    if end < len(text):
        body = _ended(body)
    return text[:start] + body + text[end:]


def _remove(text: str, start: int, end: int) -> str:
    line = text.rfind("\n", 0, max(0, start - 1)) + 1
    if text[line:start].lstrip("\ufeff").startswith("---"):
        return text[: line + text[line:start].startswith("\ufeff")] + text[end:]
    rest = text[end:]
    if rest.startswith("---"):
        first, _, others = rest.partition("\n")
        rest = others if not first[3:].strip() else rest
    return text[:start] + rest


def _insert(text: str, body: str, *, before: list[Key], after: list[Key]) -> str:
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    present = _keyed(text)
    for key in reversed(before):
        if key in present:
            end = present[key][1]
            head, tail = _ended(text[:end]), text[end:]
            return f"{head}---{end_of_line}{_ended(body) if tail else body}{tail}"
    for key in after:
        if key in present:
            start = present[key][0]
            return f"{text[:start]}{_ended(body)}---{end_of_line}{text[start:]}"
    return f"{_ended(text)}---{end_of_line}{body}" if text.strip("\ufeff \r\n") else text + body


def _only(good: str, names: AbstractSet[Name]) -> str | None:
    spans = _keyed(good)
    if all(key[:2] in names for key in spans):
        return good
    bodies = [_ended(good[slice(*span)]) for key, span in spans.items() if key[:2] in names]
    return "---\n".join(bodies) or None


def _same_documents(text: str | None, other: str | None, names: AbstractSet[Name]) -> bool:
    mine, theirs = _keyed(text or ""), _keyed(other or "")
    keys = {key for key in mine.keys() | theirs.keys() if key[:2] in names}
    return all(_body(text or "", mine.get(key)) == _body(other or "", theirs.get(key)) for key in keys)


def _keyed(text: str) -> dict[Key, tuple[int, int]]:
    """Where each document stands. Two with the same kind and name are told apart by their order."""
    seen: Counter[Name] = Counter()
    found: dict[Key, tuple[int, int]] = {}
    for kind, name, start, end in documents(text):
        found[kind, name, seen[kind, name]] = (start, end)
        seen[kind, name] += 1
    return found


def _body(text: str, span: tuple[int, int] | None) -> str | None:
    """Give a document for comparison: whether an empty line or a last line end follows does not matter."""
    return None if span is None else text[slice(*span)].rstrip("\r\n")


def _ended(text: str) -> str:
    if not text or text.endswith("\n"):
        return text
    return text + ("\r\n" if "\r\n" in text else "\n")

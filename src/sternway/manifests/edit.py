"""Edit one scalar of a YAML text and touch nothing else. Pure text in, text out.

`sternway set image` calls `set_image`; `sternway.history` calls `documents` to restore single documents.

A scalar is found by the marks of the parsed nodes and spliced into the text, so that comments, layout, line
ends, a byte order mark and a missing final newline stay as they are. The result is parsed again before it is
returned: exactly the intended path may have changed, on exactly one line.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import yaml

from sternway.errors import InvalidInput, Problem

Step = str | int
Scalar = str | int | float | bool

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOM = "\ufeff"
# In valid YAML a marker at the start of a line is a marker wherever it stands, inside block scalars too.
_MARKER = re.compile(rf"^{_BOM}?(?:---|\.\.\.)(?=[ \t\r\n]|\Z)(?:[ \t]*(?:#[^\n]*)?(?:\r?\n|\r?\Z))?", re.MULTILINE)
_PRELUDE = re.compile(r"(?:[ \t]*(?:[#%][^\n]*)?(?:\n|\Z))*")
_STR = "tag:yaml.org,2002:str"
# Plain words that some YAML reader takes for something else than a string (1.1 and 1.2, Go and Python differ).
_NOT_A_STRING = frozenset({"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_BARE = re.compile(r"[^\W_][\w./:@+=~ -]*|[./_][\w./:@+=~-]*")
_POD_SPECS: tuple[tuple[str, ...], ...] = (
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("spec",),
)


class Document(NamedTuple):
    """One document of a text: text[start:end], without the `---` line before it but with its comments."""

    kind: str
    name: str
    start: int
    end: int


def documents(text: str) -> list[Document]:
    """Every document of a text that has content. One that is no valid YAML has kind and name "".

    A document goes from behind its `---` line to the next marker, so that comments below the `---` belong to it.
    What stands before the first `---` without being a document (a licence, directives) belongs to none.
    """
    found = []
    for start, end in _spans(text):
        try:
            node = _compose(text[start:end])
        except (yaml.YAMLError, UnicodeError):
            if not _PRELUDE.fullmatch(text, start, end):
                found.append(Document("", "", start, end))
            continue
        if node is not None:
            found.append(Document(_text_at(node, ("kind",)), _text_at(node, ("metadata", "name")), start, end))
    return found


def set_image(text: str, *, kind: str, name: str, container: str, image: str, file: str = "the manifest") -> str:
    """Give one container (or init container) of a workload another image."""
    span = _find(text, (kind, name), file)
    node = _parsed(text, span, file)
    names: list[str] = []
    for pod in _POD_SPECS:
        for group in ("containers", "initContainers"):
            path = (*pod, group)
            for index, item in enumerate(_items(node, path)):
                names.append(_text_at(item, ("name",)))
                if names[-1] == container:
                    target: tuple[Step, ...] = (*path, index, "image")
                    return set_value(text, document=(kind, name), path=target, value=image, file=file)
    raise _wrong(
        file,
        f"{kind} {name} has no container {container}",
        _nearest(container, names, "its containers are"),
        line=_line(text, span.start),
    )


def set_value(
    text: str,
    *,
    document: tuple[str, str],
    path: Sequence[Step],
    value: Scalar,
    file: str = "the manifest",
) -> str:
    """Replace the scalar at `path` of the document (kind, name). The path must exist and be a scalar of its own."""
    span = _find(text, document, file)
    chunk = text[span.start : span.end]
    root = _parsed(text, span, file)
    where = ".".join(map(str, path))
    refuse = _refusal(text, span, where, file)
    node = _locate(root, path, refuse)
    start, end = node.start_mark.index, node.end_mark.index
    old = chunk[start:end]
    _check_editable(root, node, path, old, refuse)
    for rendered in _renderings(value, old):
        new = chunk[:start] + (" " if start == end else "") + rendered + chunk[end:]
        if _only_changed(root, chunk, new, tuple(path), value):
            result = text[: span.start] + new + text[span.end :]
            if len(documents(result)) == len(documents(text)):
                return result
    raise refuse(node, f"cannot be set to {value!r} without changing more than this line", "edit the file by hand")


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 1 if text.startswith(_BOM) else 0
    for marker in _MARKER.finditer(text):
        yield start, max(start, marker.start())
        start = marker.end()
    yield start, len(text)


def _compose(chunk: str) -> yaml.Node | None:
    loader = _LOADER(chunk)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _find(text: str, document: tuple[str, str], file: str) -> Document:
    everything = documents(text)
    matching = [d for d in everything if (d.kind, d.name) == document]
    kind, name = document
    if len(matching) == 1:
        return matching[0]
    if matching:
        lines = " and ".join(str(_line(text, d.start)) for d in matching)
        raise _wrong(file, f"{kind} {name} stands here more than once (lines {lines})", "keep one of them")
    broken = next((d for d in everything if not d.kind and not d.name), None)
    if broken is not None:
        _parsed(text, broken, file)
    known = [f"{d.kind} {d.name}" for d in everything if d.kind]
    raise _wrong(file, f"there is no {kind} {name}", _nearest(f"{kind} {name}", known, "there are"))


def _parsed(text: str, span: Document, file: str) -> yaml.Node:
    chunk = text[span.start : span.end]
    try:
        node = _compose(chunk)
    except (yaml.YAMLError, UnicodeError) as exc:
        mark = getattr(exc, "problem_mark", None)
        line = _line(text, span.start) + (mark.line if mark else 0)
        if "{{" in chunk:
            raise _wrong(file, "this is a template, not a manifest", "edit the values it takes", line=line) from exc
        problem = getattr(exc, "problem", None) or "not valid YAML"
        raise _wrong(file, f"the document cannot be read: {problem}", "mend the YAML first", line=line) from exc
    assert node is not None, "documents() gives documents with content alone"
    return node


def _locate(root: yaml.Node, path: Sequence[Step], refuse: Callable[..., InvalidInput]) -> yaml.ScalarNode:
    node = root
    for depth, step in enumerate(path):
        children = _children(node, step)
        so_far = ".".join(map(str, path[: depth + 1]))
        if len(children) > 1:
            raise refuse(node, f"{so_far} stands more than once", "keep one of them")
        if not children:
            if _children(node, "<<"):
                raise refuse(node, f"{so_far} may come through a YAML merge (<<)", "write it out in this document")
            raise refuse(node, f"{so_far} does not exist", "add it by hand once")
        node = children[0]
    if isinstance(node, yaml.MappingNode) and any(isinstance(key, yaml.MappingNode) for key, _ in node.value):
        raise refuse(node, "is a template", "edit the values it takes")  # {{ … }} reads as a mapping in a mapping
    if not isinstance(node, yaml.ScalarNode):
        raise refuse(node, "is no single value", "name a value inside of it")
    return node


def _check_editable(
    root: yaml.Node, node: yaml.ScalarNode, path: Sequence[Step], old: str, refuse: Callable[..., InvalidInput]
) -> None:
    uses = _uses(root)
    on_path: list[yaml.Node] = [root]
    for step in path:
        on_path.append(_children(on_path[-1], step)[0])
    if any(uses[id(step)] > 1 for step in on_path) or old[:1] in ("&", "*"):
        raise refuse(
            node, "stands behind a YAML anchor or alias, so that more than one place would change", "write it out"
        )
    if old[:1] == "!":
        raise refuse(node, "has a YAML tag", "edit it by hand")
    if node.style in ("|", ">") or "\n" in old:
        raise refuse(node, "is written over several lines", "write it on one line first")
    if "{{" in old:
        raise refuse(node, "is a template", "edit the values it takes")


def _refusal(text: str, span: Document, where: str, file: str) -> Callable[[yaml.Node, str, str], InvalidInput]:
    def refuse(node: yaml.Node, message: str, fix: str) -> InvalidInput:
        line = _line(text, span.start + node.start_mark.index)
        return _wrong(file, message, fix, line=line, field=where)

    return refuse


def _renderings(value: Scalar, old: str) -> Iterator[str]:
    """Ways to write the value, the one nearest to the old text first; the first that survives the check is taken."""
    if not isinstance(value, str):
        yield json.dumps(value)
        return
    if old[:1] == "'" and value.isprintable():
        yield "'" + value.replace("'", "''") + "'"
    elif old[:1] != '"' and not _reads_as_something_else(value):
        yield value
    yield json.dumps(value, ensure_ascii=False)
    yield json.dumps(value)


def _reads_as_something_else(value: str) -> bool:
    """Whether some YAML reader may take the bare value for no string. Readers differ, so this is wider than one of them."""
    if not _BARE.fullmatch(value) or ": " in value or value.endswith((":", " ")):
        return True
    if value.lower() in _NOT_A_STRING:
        return True
    bare = value.replace("_", "").replace(":", "")
    try:
        float(bare)
    except ValueError:
        return bool(re.fullmatch(r"[-+]?0[xob][0-9a-f]+|[-+]?\.(inf|nan)", bare, re.IGNORECASE))
    return True


def _only_changed(root: yaml.Node, old: str, new: str, path: tuple[Step, ...], value: Scalar) -> bool:
    """Exactly `path` differs, it holds the value, and at most one line of the text differs."""
    try:
        changed = _compose(new)
    except (yaml.YAMLError, UnicodeError):
        return False
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if changed is None or len(before) != len(after):
        return False
    if sum(a != b for a, b in zip(before, after, strict=True)) > 1:
        return False
    if set(_differences(root, changed, (), set())) - {path}:
        return False
    node = changed
    for step in path:
        node = _children(node, step)[0]
    if isinstance(value, str):
        return bool(node.tag == _STR and node.value == value)
    return bool(node.tag != _STR and yaml.safe_load(node.value) == value)


def _differences(
    old: yaml.Node, new: yaml.Node, path: tuple[Step, ...], seen: set[tuple[int, int]]
) -> Iterator[tuple[Step, ...]]:
    if (id(old), id(new)) in seen:
        return
    seen.add((id(old), id(new)))
    if isinstance(old, yaml.MappingNode) and isinstance(new, yaml.MappingNode) and len(old.value) == len(new.value):
        for (old_key, old_value), (new_key, new_value) in zip(old.value, new.value, strict=True):
            yield from _differences(old_key, new_key, (*path, "key"), seen)
            yield from _differences(old_value, new_value, (*path, _step(old_key)), seen)
    elif isinstance(old, yaml.SequenceNode) and isinstance(new, yaml.SequenceNode) and len(old.value) == len(new.value):
        for index, (old_item, new_item) in enumerate(zip(old.value, new.value, strict=True)):
            yield from _differences(old_item, new_item, (*path, index), seen)
    elif type(old) is not type(new) or old.tag != new.tag or old.value != new.value:
        yield path


def _step(key: yaml.Node) -> str:
    return key.value if isinstance(key, yaml.ScalarNode) else str(key.start_mark.index)


def _children(node: yaml.Node, step: Step) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode) and isinstance(step, str):
        return [value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == step]
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return [node.value[step]]
    return []


def _items(node: yaml.Node, path: Sequence[Step]) -> list[yaml.Node]:
    for step in path:
        children = _children(node, step)
        if not children:
            return []
        node = children[0]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _text_at(node: yaml.Node, path: Sequence[Step]) -> str:
    for step in path:
        children = _children(node, step)
        if not children:
            return ""
        node = children[0]
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _uses(root: yaml.Node) -> Counter[int]:
    """How often each node is used: an alias uses its anchor's node again."""
    uses: Counter[int] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        uses[id(node)] += 1
        if uses[id(node)] > 1:
            continue
        if isinstance(node, yaml.MappingNode):
            waiting.extend(child for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
    return uses


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _nearest(word: str, known: Sequence[str], lead: str) -> str:
    if not known:
        return ""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"{lead} {', '.join(known)}"


def _wrong(file: str, message: str, fix: str, *, line: int | None = None, field: str = "") -> InvalidInput:
    return InvalidInput((Problem(file=file, line=line, field=field, message=message, fix=fix),))
